import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Decoder } from '../model/decoder.js';
import { ask, events, type Harness, makeHarness, post } from './testing/harness.js';

let harness: Harness;
const run: Harness['run'] = (...given) => harness.run(...given);
beforeAll(async () => {
  harness = await makeHarness();
});
afterAll(() => harness.dispose());

test('models', async () => {
  const { client } = await run();
  expect((await client.models.list()).data.map(({ id }) => id)).toEqual(['tiny']);
  expect(await client.models.retrieve('tiny')).toMatchObject({ id: 'tiny', object: 'model', owned_by: 'dunwu' });
  await expect(client.models.retrieve('other')).rejects.toThrow(/404 the model "other" is not here; this is "tiny"/);
});

test('another path', async () => {
  const { url } = await run();
  const response = await fetch(`${url}/v1/embeddings`, { method: 'POST' });
  expect(response.status).toBe(404);
  expect(await response.json()).toMatchObject({ error: { message: 'there is no POST /v1/embeddings here' } });
});

describe("errors in OpenAI's shape", () => {
  test.each([
    ['no JSON', '{', 400, /the body is no JSON/, null],
    ['no messages', { model: 'tiny' }, 400, /messages: /, 'messages'],
    ['a wrong type', ask('a', { temperature: 'hot' }), 400, /temperature: /, 'temperature'],
    ['tools', ask('a', { tools: [{ type: 'function' }] }), 400, /tools: is not served here/, 'tools'],
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
    [
      'a penalty',
      ask('a', { presence_penalty: 1 }),
      400,
      /presence_penalty: is not served here: leave it out, or 0/,
      'presence_penalty',
    ],
    [
      'a picture',
      { model: 'tiny', messages: [{ role: 'user', content: [{ type: 'image_url', image_url: {} }] }] },
      400,
      /messages/,
      null,
    ],
    [
      'an unknown key within',
      { model: 'tiny', messages: [{ role: 'user', content: 'a', weight: 1 }] },
      400,
      /messages\.0\.weight: is not served here/,
      'messages.0.weight',
    ],
    ['another model', ask('a', { model: 'gpt' }), 404, /the model "gpt" is not here/, 'model'],
    ['too long an answer', ask('a', { max_tokens: 1000 }), 400, /exceed the model's 160 positions/, 'max_tokens'],
    ['too long a question', ask('how many '.repeat(200)), 400, /the model reaches to 160/, null],
    ['more samples than rows', ask('a', { n: 100 }), 400, /100 samples at once are more than the 8/, null],
  ])('%s', async (_name, body, status, message, param) => {
    const { url } = await run();
    const answer = await post(url, body);
    expect(answer.status).toBe(status);
    expect(answer.body.error).toMatchObject({ type: 'invalid_request_error', message: expect.stringMatching(message) });
    if (param !== null) expect(answer.body.error?.param).toBe(param);
  });

  test('a full queue: come again later, before anything is encoded, streamed or not', async () => {
    const { url, client, engine } = await run({ queue: 1 }, 1);
    const slow = [0, 1].map(() => post(url, ask('slow', { max_tokens: 140 })));
    while (engine.load.waiting === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    const encode = vi.spyOn(harness.tokenizer, 'encode');
    for (const more of [{}, { stream: true }]) {
      const refused = await post(url, ask('more', more));
      expect(refused.status).toBe(429);
      expect(refused.headers.get('Retry-After')).toBe('1');
      expect(refused.body.error).toMatchObject({
        type: 'rate_limit_error',
        code: 'rate_limit_exceeded',
        message: '1 requests wait already: come again later',
      });
    }
    const plain = { model: 'tiny', prompt: 'more' };
    expect((await post(url, plain, {}, '/v1/completions')).status).toBe(429);
    expect(encode).not.toHaveBeenCalled();
    encode.mockRestore();
    for (const answer of await Promise.all(slow)) expect(answer.status).toBe(200);
    expect((await client.chat.completions.create(ask('after', { max_tokens: 1 }))).choices).toHaveLength(1);
  });

  test('a request that takes too long is given up, also when streamed', async () => {
    const { url, engine } = await run({ timeoutMs: 1 }, 1);
    const long = ask('slow', { max_tokens: 150 });
    const late = await post(url, long);
    expect(late.status).toBe(504);
    expect(late.body.error).toMatchObject({ type: 'server_error', code: 'timeout' });
    expect((await events(url, long)).at(-1)).toMatchObject({ error: { type: 'server_error', code: 'timeout' } });
    expect(engine.load).toEqual({ waiting: 0, active: 0 });
  });

  test.each([
    ['messages', '/v1/chat/completions', ask('a'.repeat(100_000))],
    ['prompt', '/v1/completions', { model: 'tiny', prompt: ['a', 'a'.repeat(100_000)] }],
  ])('%s that cannot fit are not encoded to find that out', async (param, path, body) => {
    const { url } = await run();
    const encode = vi.spyOn(harness.tokenizer, 'encode');
    const answer = await post(url, body, {}, path);
    expect(Math.max(0, ...encode.mock.calls.map(([text]) => text.length))).toBeLessThan(1000);
    encode.mockRestore();
    expect(answer.status).toBe(400);
    expect(answer.body.error).toMatchObject({
      type: 'invalid_request_error',
      code: 'context_length_exceeded',
      param,
      message:
        'the prompt has 100000 characters, more than 160 tokens can hold; the model reaches to 160, the answer included',
    });
  });

  test("the engine's own failure is the server's, whether it comes with the prompt or later; the next request is served", async () => {
    const { url, client } = await run();
    for (const steps of [0, 2]) {
      for (const streamed of [false, true]) {
        let left = steps;
        const step = Decoder.prototype.step;
        const failing = vi.spyOn(Decoder.prototype, 'step').mockImplementation(function (this: Decoder, ...given) {
          if (left-- > 0) return step.apply(this, given);
          throw new Error('out of memory');
        });
        const body = ask('a', { max_tokens: 20 });
        const error = { message: 'out of memory', type: 'server_error', param: null, code: null };
        if (streamed) expect((await events(url, body)).at(-1)).toEqual({ error });
        else expect(await post(url, body)).toMatchObject({ status: 500, body: { error } });
        failing.mockRestore();
      }
    }
    await expect(client.chat.completions.create(ask('a'))).resolves.toMatchObject({ object: 'chat.completion' });
  });

  test('what the engine can never serve is the fault of the request, streamed or not', async () => {
    const { url } = await run();
    for (const stream of [false, true]) {
      const answer = await post(url, ask('a', { n: 100, stream }));
      expect(answer.status).toBe(400);
      expect(answer.body.error).toMatchObject({ type: 'invalid_request_error' });
    }
  });

  test('a body without end is refused', async () => {
    const { url } = await run({ bodyBytes: 1000 });
    expect((await post(url, ask('a'.repeat(2000)))).status).toBe(413);
  });
});
