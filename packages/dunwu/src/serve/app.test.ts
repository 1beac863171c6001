import { mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { serve } from '@hono/node-server';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CausalModel } from '../model/causal-model.js';
import { tinyModel } from '../model/testing/tiny.js';
import { ContinuousEngine } from '../rollout/continuous-engine.js';
import { trainBpe } from '../text/bpe-trainer.js';
import { renderPrompt } from '../text/template.js';
import { SMALL_CORPUS } from '../text/testing/make-tokenizer.js';
import { Tokenizer } from '../text/tokenizer.js';
import { saveTokenizer } from '../text/tokenizer-file.js';
import { createApp, type ServerSettings } from './app.js';

let dir = '';
let model: CausalModel;
let tokenizer: Tokenizer;
const open: Server[] = [];

beforeAll(async () => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'dunwu-serve-'));
  await saveTokenizer(dir, trainBpe(SMALL_CORPUS, { vocab_size: 300 }));
  tokenizer = Tokenizer.load(dir);
  model = tinyModel(5, { vocab_size: tokenizer.vocab_size, max_position_embeddings: 160 });
});
afterAll(() => {
  for (const server of open) {
    server.closeAllConnections();
    server.close();
  }
  model.dispose();
  rmSync(dir, { recursive: true, force: true });
});

interface Running {
  readonly client: OpenAI;
  readonly url: string;
  readonly engine: ContinuousEngine;
}

async function run(settings: Partial<ServerSettings> = {}, rows = 8, apiKey = 'none'): Promise<Running> {
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
  const at = server.address() as { port: number };
  const url = `http://127.0.0.1:${at.port}`;
  return { client: new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 }), url, engine };
}

const ask = (content: string, more: object = {}) => ({
  model: 'tiny',
  messages: [{ role: 'user' as const, content }],
  max_tokens: 12,
  seed: 3,
  ...more,
});
const raw = async (url: string, body: unknown, headers: Record<string, string> = {}) => {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return {
    status: response.status,
    body: (await response.json()) as {
      error?: { message: string; type: string; code: string | null; param: string | null };
    },
  };
};

describe('with the official client', () => {
  test('models', async () => {
    const { client } = await run();
    expect((await client.models.list()).data.map(({ id }) => id)).toEqual(['tiny']);
    expect(await client.models.retrieve('tiny')).toMatchObject({ id: 'tiny', object: 'model', owned_by: 'dunwu' });
    await expect(client.models.retrieve('other')).rejects.toThrow(/404 the model "other" is not here; this is "tiny"/);
  });

  test('the same seed the same answer, another one another; usage is counted', async () => {
    const { client } = await run();
    const one = await client.chat.completions.create(ask('how many'));
    const prompt = renderPrompt(tokenizer, 'how many').length;
    expect(one.usage?.prompt_tokens).toBe(prompt);
    expect(one.usage?.total_tokens).toBe(prompt + (one.usage?.completion_tokens ?? 0));
    expect(one.usage?.completion_tokens).toBeLessThanOrEqual(12);
    expect(['stop', 'length']).toContain(one.choices[0]?.finish_reason);
    const again = await client.chat.completions.create(ask('how many'));
    expect(again.choices).toEqual(one.choices);
    expect(again.id).not.toBe(one.id);
    const other = await client.chat.completions.create(ask('how many', { seed: 4 }));
    expect(other.choices[0]?.message.content).not.toBe(one.choices[0]?.message.content);
  });

  test('streamed, it is the same text, role first and reason last, usage where asked for', async () => {
    const { client } = await run();
    const whole = await client.chat.completions.create(ask('小明', { n: 2, max_tokens: 20 }));
    const texts = ['', ''];
    const reasons: (string | null)[] = [null, null];
    let usage: unknown;
    const stream = await client.chat.completions.create({
      ...ask('小明', { n: 2, max_tokens: 20 }),
      stream: true,
      stream_options: { include_usage: true },
    });
    for await (const { choices, usage: counted } of stream) {
      for (const { index, delta, finish_reason } of choices) {
        expect(reasons[index]).toBeNull();
        texts[index] += delta.content ?? '';
        reasons[index] = finish_reason;
      }
      usage = counted ?? usage;
    }
    expect(texts).toEqual(whole.choices.map(({ message }) => message.content));
    expect(reasons).toEqual(whole.choices.map(({ finish_reason }) => finish_reason));
    expect(usage).toEqual(whole.usage);
  });

  test('many at once get what each gets alone', async () => {
    const { client } = await run({}, 3);
    const questions = Array.from({ length: 9 }, (_, i) => ask(`q${i}`, { seed: i, temperature: i % 2 === 0 ? 1 : 0 }));
    const together = await Promise.all(questions.map((question) => client.chat.completions.create(question)));
    for (const [i, question] of questions.entries()) {
      expect((await client.chat.completions.create(question)).choices).toEqual(together[i]?.choices);
    }
  });

  test('log-probabilities, of what is drawn and of the likeliest', async () => {
    const { client } = await run();
    const { choices } = await client.chat.completions.create(
      ask('a', { temperature: 0, logprobs: true, top_logprobs: 2, max_tokens: 5 }),
    );
    const content = choices[0]?.logprobs?.content ?? [];
    expect(content.length).toBeGreaterThan(0);
    for (const { token, logprob, top_logprobs, bytes } of content) {
      expect(top_logprobs).toHaveLength(2);
      // At temperature 0 the likeliest is taken.
      expect(top_logprobs[0]?.token).toBe(token);
      expect(top_logprobs[0]?.logprob).toBeCloseTo(logprob, 5);
      expect(bytes).toEqual([...new TextEncoder().encode(token)]);
    }
  });

  test('stop strings end the text before them', async () => {
    const { client } = await run();
    const { choices } = await client.chat.completions.create(ask('stop', { max_tokens: 40 }));
    const text = choices[0]?.message.content ?? '';
    expect(text.length).toBeGreaterThan(6);
    const stop = text.slice(3, 5);
    const cut = await client.chat.completions.create(ask('stop', { max_tokens: 40, stop }));
    expect(cut.choices[0]).toMatchObject({
      finish_reason: 'stop',
      message: { content: text.slice(0, text.indexOf(stop)) },
    });
    expect(cut.usage?.completion_tokens).toBeLessThan(40);
  });

  test('completions: plain text goes on, several prompts, several of each', async () => {
    const { client } = await run();
    const one = { model: 'tiny', prompt: ['a', 'b'], n: 2, max_tokens: 6, seed: 1, logprobs: 1 };
    const whole = await client.completions.create(one);
    expect(whole.choices.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
    expect(whole.choices[0]?.logprobs?.tokens?.length).toBe(whole.choices[0]?.logprobs?.token_logprobs?.length);
    const texts = ['', '', '', ''];
    for await (const { choices } of await client.completions.create({ ...one, stream: true })) {
      for (const { index, text } of choices) texts[index] += text;
    }
    expect(texts).toEqual(whole.choices.map(({ text }) => text));
  });

  test('a client that goes away frees its place, streaming or not', async () => {
    const { client, engine } = await run({}, 1);
    const gone = new AbortController();
    const waiting = client.chat.completions.create(ask('long', { max_tokens: 150 }), { signal: gone.signal });
    const behind = client.chat.completions.create(ask('next', { max_tokens: 4 }));
    while (engine.load.active === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    gone.abort();
    await expect(waiting).rejects.toThrow();
    await behind;
    expect(engine.load).toEqual({ waiting: 0, active: 0 });
    const stream = await client.chat.completions.create({ ...ask('long', { max_tokens: 150 }), stream: true });
    for await (const _ of stream) break; // the client closes the connection
    for (let i = 0; i < 500 && engine.load.active > 0; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(engine.load.active).toBe(0);
  });
});

describe("errors in OpenAI's shape", () => {
  test.each([
    ['no JSON', '{', 400, /the body is no JSON/, null],
    ['no messages', { model: 'tiny' }, 400, /messages: /, 'messages'],
    ['a wrong type', ask('a', { temperature: 'hot' }), 400, /temperature: /, 'temperature'],
    ['tools', ask('a', { tools: [] }), 400, /tools: tools is not served here/, 'tools'],
    ['an unknown key', ask('a', { speed: 9 }), 400, /speed: is not served here/, 'speed'],
    ['the likeliest without logprobs', ask('a', { top_logprobs: 2 }), 400, /needs logprobs: true/, 'top_logprobs'],
    [
      'options of a stream without one',
      ask('a', { stream_options: { include_usage: true } }),
      400,
      /is for stream: true alone/,
      'stream_options',
    ],
    [
      'two longest answers',
      ask('a', { max_tokens: 5, max_completion_tokens: 6 }),
      400,
      /and max_completion_tokens say different things/,
      'max_tokens',
    ],
    ['a penalty', ask('a', { presence_penalty: 1 }), 400, /presence_penalty is not served here/, 'presence_penalty'],
    [
      'a picture',
      { model: 'tiny', messages: [{ role: 'user', content: [{ type: 'image_url', image_url: {} }] }] },
      400,
      /messages/,
      null,
    ],
    ['another model', ask('a', { model: 'gpt' }), 404, /the model "gpt" is not here/, 'model'],
    ['too long an answer', ask('a', { max_tokens: 1000 }), 400, /exceed the model's 160 positions/, 'max_tokens'],
    ['too long a question', ask('how many '.repeat(200)), 400, /the model reaches to 160/, null],
    ['more samples than rows', ask('a', { n: 100 }), 400, /100 samples at once are more than the 8/, null],
  ])('%s', async (_name, body, status, message, param) => {
    const { url } = await run();
    const answer = await raw(url, body);
    expect(answer.status).toBe(status);
    expect(answer.body.error).toMatchObject({ type: 'invalid_request_error', message: expect.stringMatching(message) });
    if (param !== null) expect(answer.body.error?.param).toBe(param);
  });

  test('what says the same twice, or nothing, is taken', async () => {
    const { url } = await run();
    const same = { max_tokens: 3, max_completion_tokens: 3, top_logprobs: 0, stream_options: null };
    expect((await raw(url, ask('a', same))).status).toBe(200);
    expect((await raw(url, ask('a', { max_tokens: null, max_completion_tokens: 3 }))).status).toBe(200);
  });

  test('completions take options of a stream with one alone, too', async () => {
    const { url } = await run();
    const body = { model: 'tiny', prompt: 'a', stream_options: { include_usage: true } };
    const answer = await fetch(`${url}/v1/completions`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ error: { param: 'stream_options' } });
  });

  test('another path', async () => {
    const { url } = await run();
    const response = await fetch(`${url}/v1/embeddings`, { method: 'POST' });
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ error: { message: 'there is no POST /v1/embeddings here' } });
  });

  test('a full queue: come again later; a request that takes too long: given up, also when streamed', async () => {
    const { url, client, engine } = await run({ queue: 1, timeoutMs: 150 }, 1);
    const slow = [0, 1].map(() => raw(url, ask('slow', { max_tokens: 150, stop: [] })));
    while (engine.load.waiting === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    const refused = await raw(url, ask('more'));
    expect(refused.status).toBe(429);
    expect(refused.body.error).toMatchObject({ type: 'rate_limit_error', code: 'rate_limit_exceeded' });
    // The second one waits for its whole time at most.
    for (const answer of await Promise.all(slow)) expect([200, 504]).toContain(answer.status);
    expect((await client.chat.completions.create(ask('after', { max_tokens: 1 }))).choices).toHaveLength(1);
  });
});

describe('who may ask', () => {
  test('with a token only who has it', async () => {
    const { url, client } = await run({ token: 'swordfish' });
    await expect(client.models.list()).rejects.toThrow(/401/);
    expect((await raw(url, ask('a'))).body.error).toMatchObject({ code: 'invalid_api_key' });
    const { client: known } = await run({ token: 'swordfish' }, 8, 'swordfish');
    expect((await known.models.list()).data).toHaveLength(1);
  });

  test("an empty token is nobody's key", async () => {
    const { url } = await run({ token: '' });
    expect((await raw(url, ask('a'))).status).toBe(401);
  });

  test('no page of another site, by its origin or by a name that points here', async () => {
    const { url } = await run({ origins: ['http://localhost:3000'] });
    expect((await raw(url, ask('a'), { Origin: 'https://evil.example' })).status).toBe(403);
    expect((await raw(url, ask('a', { max_tokens: 1 }), { Origin: 'http://localhost:3000' })).status).toBe(200);
    const { request } = await import('node:http');
    const status = await new Promise((resolve) => {
      const { port } = new URL(url);
      request({ host: '127.0.0.1', port, path: '/v1/models', headers: { Host: 'evil.example' } }, (response) => {
        response.resume();
        resolve(response.statusCode);
      }).end();
    });
    expect(status).toBe(403);
  });

  test('a body without end is refused', async () => {
    const { url } = await run({ bodyBytes: 1000 });
    expect((await raw(url, ask('a'.repeat(2000)))).status).toBe(413);
  });
});
