import type { Server } from 'node:http';
import { serve } from '@hono/node-server';
import OpenAI from 'openai';
import type { CausalModel } from '../../model/causal-model.js';
import { tinyModel } from '../../model/testing/tiny.js';
import { ContinuousEngine } from '../../rollout/continuous-engine.js';
import { makeTokenizer, SMALL_CORPUS } from '../../text/testing/make-tokenizer.js';
import type { Tokenizer } from '../../text/tokenizer.js';
import { createApp } from '../app.js';
import type { ServerSettings } from '../service.js';

export interface Running {
  readonly client: OpenAI;
  readonly url: string;
  readonly engine: ContinuousEngine;
}

/** A tiny random model, 160 positions, and servers of it on free ports. */
export interface Harness {
  readonly model: CausalModel;
  readonly tokenizer: Tokenizer;
  run(settings?: Partial<ServerSettings>, rows?: number, apiKey?: string): Promise<Running>;
  dispose(): void;
}

/** @param template a chat template other than ours */
export async function makeHarness(template?: string): Promise<Harness> {
  const tokenizer = await makeTokenizer(SMALL_CORPUS, { vocab_size: 300 }, template);
  const model = tinyModel(5, { vocab_size: tokenizer.vocab_size, max_position_embeddings: 160 });
  const open: Server[] = [];
  return {
    model,
    tokenizer,
    async run(settings = {}, rows = 8, apiKey = 'none') {
      const engine = new ContinuousEngine(model, { maxRows: rows, maxTokens: 2000 });
      const app = createApp(
        engine,
        { name: 'tiny', tokenizer, stop: [tokenizer.special_id('eos')], positions: 160 },
        { hosts: ['127.0.0.1'], origins: [], queue: 16, timeoutMs: 60_000, ...settings },
      );
      const server = await new Promise<Server>((resolve) => {
        const listening = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, () =>
          resolve(listening as Server),
        ) as Server;
      });
      open.push(server);
      const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
      return { client: new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 }), url, engine };
    },
    dispose() {
      for (const server of open) {
        server.closeAllConnections();
        server.close();
      }
      model.dispose();
    },
  };
}

/** The body of a chat request. */
export const ask = (content: string, more: object = {}) => ({
  model: 'tiny',
  messages: [{ role: 'user' as const, content }],
  max_tokens: 12,
  seed: 3,
  ...more,
});

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: { error?: { message: string; type: string; code: string | null; param: string | null } };
}

/** Posts a body as it is, without the client's own checks. */
export async function post(
  url: string,
  body: unknown,
  headers: Record<string, string> = {},
  path = '/v1/chat/completions',
): Promise<Answer> {
  const response = await fetch(`${url}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: response.status, headers: response.headers, body: (await response.json()) as Answer['body'] };
}

/** What a request streams: the data of its events, parsed, `[DONE]` left out. */
export async function events(url: string, body: object, path = '/v1/chat/completions'): Promise<unknown[]> {
  const response = await fetch(`${url}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ ...body, stream: true }),
  });
  const lines = (await response.text()).split('\n').filter((line) => line.startsWith('data: '));
  if (lines.pop() !== 'data: [DONE]') throw new Error('the stream does not end in [DONE]');
  return lines.map((line) => JSON.parse(line.slice('data: '.length)) as unknown);
}
