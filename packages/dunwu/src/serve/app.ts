import { randomInt, randomUUID, timingSafeEqual } from 'node:crypto';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { streamSSE } from 'hono/streaming';
import type { z } from 'zod';
import type { ContinuousEngine, DrawnToken, Generated } from '../rollout/continuous-engine.js';
import type { Sampling } from '../rollout/sampling-config.js';
import { renderMessages } from '../text/template.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { errorText } from '../util/errors.js';
import { type AnswerPiece, AnswerReader } from './answer-reader.js';
import { ApiError, apiError } from './api-error.js';
import { type ChatRequest, type CompletionRequest, chatSchema, completionSchema } from './openai-schema.js';

export interface ServedModel {
  /** What clients call it. */
  readonly name: string;
  readonly tokenizer: Tokenizer;
  /** Token ids that end a response. */
  readonly stop: readonly number[];
  /** Tokens that prompt and response may have together. */
  readonly positions: number;
}

export interface ServerSettings {
  /** Clients must send `Authorization: Bearer …` with it. */
  readonly token?: string;
  /** Values of the `Host` header that are answered (names without port); others are another site's trick. null: any. */
  readonly hosts: readonly string[] | null;
  /** Web pages (values of `Origin`) whose scripts may ask. */
  readonly origins: readonly string[];
  /** Requests that may wait for room; more are told to come again. */
  readonly queue: number;
  /** Longest time for a request, in milliseconds, waiting included. */
  readonly timeoutMs: number;
  /** Longest body, in bytes. */
  readonly bodyBytes?: number;
}

const DEFAULT_NEW_TOKENS = 1024;
const BODY_BYTES = 8 * 2 ** 20;

/**
 * OpenAI's API over one model: `/v1/models`, `/v1/chat/completions`, `/v1/completions`, and `/health`. The thought is sent
 * apart from the answer, as DeepSeek's API does (`reasoning_content`). A client that goes away takes its request out.
 */
export function createApp(engine: ContinuousEngine, model: ServedModel, settings: ServerSettings): Hono {
  const app = new Hono();
  const created = Math.floor(Date.now() / 1000);
  const shown = { id: model.name, object: 'model', created, owned_by: 'dunwu' };

  app.use(async (c, next) => {
    guard(c, settings);
    await next();
  });
  app.use(
    bodyLimit({
      maxSize: settings.bodyBytes ?? BODY_BYTES,
      onError: () => {
        throw new ApiError(413, `the body has more than ${settings.bodyBytes ?? BODY_BYTES} bytes`);
      },
    }),
  );
  app.get('/health', (c) => c.json({ status: 'ok', ...engine.load }));
  app.get('/v1/models', (c) => c.json({ object: 'list', data: [shown] }));
  app.get('/v1/models/:id{.+}', (c) => {
    requireModel(c.req.param('id'), model);
    return c.json(shown);
  });
  app.post('/v1/chat/completions', async (c) => chat(c, await read(c, chatSchema, model), engine, model, settings));
  app.post('/v1/completions', async (c) =>
    complete(c, await read(c, completionSchema, model), engine, model, settings),
  );
  app.notFound((c) => {
    const error = new ApiError(404, `there is no ${c.req.method} ${new URL(c.req.url).pathname} here`);
    return c.json(error.body, error.status);
  });
  app.onError((thrown, c) => {
    const error = apiError(thrown);
    if (error.status === 429) c.header('Retry-After', '1');
    return c.json(error.body, error.status);
  });
  return app;
}

/** Who may ask: another site's page cannot, by its origin or by a name that it made point here; beyond that the token. */
function guard(c: Context, { hosts, origins, token }: ServerSettings): void {
  const host = (c.req.header('host') ?? '').replace(/:\d+$/, '').toLowerCase();
  if (hosts !== null && !hosts.includes(host))
    throw new ApiError(403, `requests for the host ${JSON.stringify(host)} are not answered`);
  const origin = c.req.header('origin');
  if (origin !== undefined && !origins.includes(origin)) {
    throw new ApiError(
      403,
      `pages of ${JSON.stringify(origin.slice(0, 200))} may not ask: start the server with --origin for it`,
    );
  }
  if (token === undefined) return;
  const given = /^Bearer (.+)$/.exec(c.req.header('authorization') ?? '')?.[1] ?? '';
  const [mine, theirs] = [Buffer.from(token), Buffer.from(given)];
  if (given === '' || mine.length !== theirs.length || !timingSafeEqual(mine, theirs)) {
    throw new ApiError(401, 'the token is missing or wrong: Authorization: Bearer …', { code: 'invalid_api_key' });
  }
}

async function read<S extends z.ZodType<{ model: string }>>(
  c: Context,
  schema: S,
  model: ServedModel,
): Promise<z.output<S>> {
  let body: unknown;
  try {
    body = await c.req.json();
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError(400, 'the body is no JSON');
  }
  const parsed = schema.safeParse(body);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const unknown = issue?.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
    const param = unknown ?? issue?.path.join('.') ?? '';
    const why = unknown === undefined ? (issue?.message ?? 'not as expected') : 'is not served here';
    throw new ApiError(400, `${param === '' ? 'the body' : param}: ${why}`, param === '' ? {} : { param });
  }
  requireModel(parsed.data.model, model);
  return parsed.data;
}

function requireModel(asked: string, { name }: ServedModel): void {
  if (asked === name) return;
  throw new ApiError(
    404,
    `the model ${JSON.stringify(asked.slice(0, 200))} is not here; this is ${JSON.stringify(name)}`,
    {
      code: 'model_not_found',
      param: 'model',
    },
  );
}

/** One prompt's work, whatever the endpoint. */
interface Job {
  readonly tokens: readonly number[];
  readonly sampling: Sampling;
  readonly samples: number;
  readonly seed: number;
  readonly key: string;
  readonly stopStrings: readonly string[];
  readonly raw: boolean;
  readonly top: number;
}

/** Told every token as it is drawn, and what of the text became clear with it. */
type OnToken = (sample: number, drawn: DrawnToken, pieces: readonly AnswerPiece[]) => void;

/** A response's text, by its parts. */
type Text = Record<AnswerPiece['part'], string>;

interface Finished {
  readonly generated: Generated;
  readonly text: Text;
  /** The end of `text` that no piece told, as it might have become a stop string. */
  readonly rest: Text;
  readonly reasoningTokens: number;
  readonly drawn: readonly DrawnToken[];
  readonly reason: 'stop' | 'length';
}

function jobOf(
  request: ChatRequest | CompletionRequest,
  tokens: readonly number[],
  key: string,
  model: ServedModel,
): Job {
  const room = model.positions - tokens.length;
  if (room < 1) {
    throw new ApiError(
      400,
      `the prompt has ${tokens.length} tokens; the model reaches to ${model.positions}, the answer included`,
      {
        code: 'context_length_exceeded',
      },
    );
  }
  const asked = ('max_completion_tokens' in request ? request.max_completion_tokens : null) ?? request.max_tokens;
  if (asked !== null && asked !== undefined && asked > room) {
    throw new ApiError(
      400,
      `max_tokens ${asked} and a prompt of ${tokens.length} tokens exceed the model's ${model.positions} positions`,
      {
        code: 'context_length_exceeded',
        param: 'max_tokens',
      },
    );
  }
  const top = ('messages' in request ? request.top_logprobs : request.logprobs) ?? 0;
  return {
    tokens,
    samples: request.n ?? 1,
    sampling: {
      temperature: request.temperature ?? 1,
      top_p: request.top_p ?? 1,
      top_k: request.top_k ?? 0,
      max_tokens: asked ?? Math.min(room, DEFAULT_NEW_TOKENS),
    },
    seed: request.seed ?? randomInt(2 ** 47),
    key,
    stopStrings: request.stop,
    raw: !('messages' in request),
    top,
  };
}

/** Runs a job to its end. @throws ApiError when there is no room, it takes too long, or the engine fails */
async function work(
  job: Job,
  engine: ContinuousEngine,
  model: ServedModel,
  settings: ServerSettings,
  client: AbortSignal,
  onToken?: OnToken,
): Promise<Finished[]> {
  if (engine.load.waiting >= settings.queue) {
    throw new ApiError(429, `${settings.queue} requests wait already: come again later`, {
      code: 'rate_limit_exceeded',
      type: 'rate_limit_error',
    });
  }
  const late = AbortSignal.timeout(settings.timeoutMs);
  const readers = Array.from(
    { length: job.samples },
    () => new AnswerReader(model.tokenizer, { stop: model.stop, stopStrings: job.stopStrings, raw: job.raw }),
  );
  const texts = readers.map(noText);
  const drawn: DrawnToken[][] = readers.map(() => []);
  let generated: Generated[];
  try {
    generated = await engine.generate({
      tokens: job.tokens,
      samples: job.samples,
      sampling: job.sampling,
      seed: job.seed,
      key: job.key,
      stop: model.stop,
      top: job.top,
      signal: AbortSignal.any([client, late]),
      onToken: (token, sample) => {
        const reader = readers[sample] as AnswerReader;
        const { pieces, stopped } = reader.push(token.token);
        if (!model.stop.includes(token.token)) drawn[sample]?.push(token);
        append(texts[sample] as Text, pieces);
        onToken?.(sample, token, pieces);
        return stopped;
      },
    });
  } catch (error) {
    throw new ApiError(400, errorText(error));
  }
  if (generated.some(({ reason }) => reason === 'cancelled')) {
    if (late.aborted)
      throw new ApiError(504, `the answer took more than ${settings.timeoutMs / 1000} s`, { code: 'timeout' });
    throw new ApiError(408, 'the client has gone');
  }
  return generated.map((one, sample) => {
    const reader = readers[sample] as AnswerReader;
    const text = texts[sample] as Text;
    const rest = noText();
    const held = reader.end();
    append(text, held);
    append(rest, held);
    return {
      generated: one,
      text,
      rest,
      reasoningTokens: reader.reasoningTokens,
      drawn: drawn[sample] as DrawnToken[],
      reason: one.reason === 'length' ? 'length' : 'stop',
    };
  });
}

const noText = (): Text => ({ reasoning: '', content: '' });

function append(to: Text, pieces: readonly AnswerPiece[]): void {
  for (const { part, text } of pieces) to[part] += text;
}

function usage(prompt: number, finished: readonly Finished[]): object {
  const completion = finished.reduce((sum, { generated }) => sum + generated.tokens.length, 0);
  const reasoning = finished.reduce((sum, { reasoningTokens }) => sum + reasoningTokens, 0);
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    completion_tokens_details: { reasoning_tokens: reasoning },
  };
}

async function chat(
  c: Context,
  request: ChatRequest,
  engine: ContinuousEngine,
  model: ServedModel,
  settings: ServerSettings,
): Promise<Response> {
  const id = `chatcmpl-${randomUUID()}`;
  let tokens: number[];
  try {
    tokens = renderMessages(model.tokenizer, request.messages, { add_generation_prompt: true });
  } catch (error) {
    throw new ApiError(400, errorText(error), { param: 'messages' });
  }
  const job = jobOf(request, tokens, 'chat', model);
  const head = { id, created: Math.floor(Date.now() / 1000), model: model.name, system_fingerprint: null };
  const logprobs = (drawn: readonly DrawnToken[]) =>
    request.logprobs === true
      ? { logprobs: { content: drawn.map((one) => chatLogprob(one, model.tokenizer)) } }
      : { logprobs: null };
  if (request.stream !== true) {
    const finished = await work(job, engine, model, settings, c.req.raw.signal);
    const choices = finished.map(({ text, drawn, reason }, index) => ({
      index,
      message: {
        role: 'assistant',
        content: text.content,
        ...(text.reasoning === '' ? {} : { reasoning_content: text.reasoning }),
        refusal: null,
      },
      ...logprobs(drawn),
      finish_reason: reason,
    }));
    return c.json({ ...head, object: 'chat.completion', choices, usage: usage(tokens.length, finished) });
  }
  const chunk = (choices: readonly object[], more: object = {}) =>
    JSON.stringify({ ...head, object: 'chat.completion.chunk', choices, ...more });
  const delta = (index: number, pieces: readonly AnswerPiece[], more: object = {}) =>
    pieces.map(({ part, text }) => ({
      index,
      delta: { [part === 'reasoning' ? 'reasoning_content' : 'content']: text },
      ...more,
      finish_reason: null,
    }));
  return streamed(c, async (send, client) => {
    for (let index = 0; index < job.samples; index++)
      send(chunk([{ index, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: null }]));
    const finished = await work(job, engine, model, settings, client, (sample, drawn, pieces) => {
      const shown = model.stop.includes(drawn.token) ? [] : [drawn];
      const told = delta(sample, pieces, logprobs(shown));
      if (told.length > 0) send(chunk(told));
      else if (request.logprobs === true && shown.length > 0)
        send(chunk([{ index: sample, delta: {}, ...logprobs(shown), finish_reason: null }]));
    });
    finished.forEach(({ rest, reason }, index) => {
      for (const part of ['reasoning', 'content'] as const) {
        if (rest[part] !== '') send(chunk(delta(index, [{ part, text: rest[part] }])));
      }
      send(chunk([{ index, delta: {}, logprobs: null, finish_reason: reason }]));
    });
    if (request.stream_options?.include_usage === true) send(chunk([], { usage: usage(tokens.length, finished) }));
  });
}

async function complete(
  c: Context,
  request: CompletionRequest,
  engine: ContinuousEngine,
  model: ServedModel,
  settings: ServerSettings,
): Promise<Response> {
  const id = `cmpl-${randomUUID()}`;
  const { bos } = model.tokenizer.special;
  const jobs = request.prompt.map((prompt, i) => {
    const tokens = model.tokenizer.encode(prompt, { allow_special: true });
    const begun = bos === undefined || tokens[0] === bos ? tokens : [bos, ...tokens];
    if (begun.length === 0) throw new ApiError(400, 'the prompt is empty', { param: 'prompt' });
    return jobOf(request, begun, `completion/${i}`, model);
  });
  const head = { id, object: 'text_completion', created: Math.floor(Date.now() / 1000), model: model.name };
  const prompts = jobs.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const place = (job: number, sample: number) => job * (request.n ?? 1) + sample;
  const logprobs = (drawn: readonly DrawnToken[]) =>
    typeof request.logprobs === 'number'
      ? { logprobs: completionLogprobs(drawn, model.tokenizer) }
      : { logprobs: null };
  if (request.stream !== true) {
    const all = await Promise.all(jobs.map((job) => work(job, engine, model, settings, c.req.raw.signal)));
    const choices = all.flatMap((finished, job) =>
      finished.map(({ text, drawn, reason }, sample) => ({
        index: place(job, sample),
        text: text.content,
        ...logprobs(drawn),
        finish_reason: reason,
      })),
    );
    return c.json({ ...head, choices, usage: usage(prompts, all.flat()) });
  }
  const chunk = (choice: object) => JSON.stringify({ ...head, choices: [choice] });
  return streamed(c, async (send, client) => {
    const all = await Promise.all(
      jobs.map(async (job, at) => {
        const finished = await work(job, engine, model, settings, client, (sample, drawn, pieces) => {
          const text = pieces.map((piece) => piece.text).join('');
          if (text !== '') send(chunk({ index: place(at, sample), text, ...logprobs([drawn]), finish_reason: null }));
        });
        finished.forEach(({ rest, reason }, sample) => {
          send(chunk({ index: place(at, sample), text: rest.content, logprobs: null, finish_reason: reason }));
        });
        return finished;
      }),
    );
    if (request.stream_options?.include_usage === true)
      send(JSON.stringify({ ...head, choices: [], usage: usage(prompts, all.flat()) }));
  });
}

/** Server-sent events; an error after the first one is an event too, since the status is sent already. */
function streamed(c: Context, make: (send: (data: string) => void, client: AbortSignal) => Promise<void>): Response {
  return streamSSE(c, async (stream) => {
    const gone = new AbortController();
    stream.onAbort(() => gone.abort());
    const client = AbortSignal.any([gone.signal, c.req.raw.signal]);
    let writing = Promise.resolve();
    const send = (data: string): void => {
      writing = writing.then(async () => {
        if (!client.aborted) await stream.writeSSE({ data });
      });
    };
    try {
      await make(send, client);
    } catch (thrown) {
      send(JSON.stringify(apiError(thrown).body));
    }
    send('[DONE]');
    await writing;
  });
}

function bytesOf(text: string): number[] {
  return [...new TextEncoder().encode(text)];
}

function chatLogprob({ token, logprob, top }: DrawnToken, tokenizer: Tokenizer): object {
  const named = (id: number, value: number) => {
    const text = tokenizer.decode([id]);
    return { token: text, logprob: value, bytes: bytesOf(text) };
  };
  return { ...named(token, logprob), top_logprobs: top.map(([id, value]) => named(id, value)) };
}

function completionLogprobs(drawn: readonly DrawnToken[], tokenizer: Tokenizer): object {
  const text = (id: number): string => tokenizer.decode([id]);
  let offset = 0;
  return {
    tokens: drawn.map(({ token }) => text(token)),
    token_logprobs: drawn.map(({ logprob }) => logprob),
    top_logprobs: drawn.map(({ top }) => Object.fromEntries(top.map(([id, value]) => [text(id), value]))),
    text_offset: drawn.map(({ token }) => {
      const at = offset;
      offset += text(token).length;
      return at;
    }),
  };
}
