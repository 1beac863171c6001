import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { events, type Harness, makeHarness, post } from './testing/harness.js';

let harness: Harness;
const run: Harness['run'] = (...given) => harness.run(...given);
beforeAll(async () => {
  harness = await makeHarness();
});
afterAll(() => harness.dispose());

test('plain text goes on, several prompts, several of each', async () => {
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

test('options of a stream with one alone', async () => {
  const { url } = await run();
  const body = { model: 'tiny', prompt: 'a', stream_options: { include_usage: true } };
  const answer = await post(url, body, {}, '/v1/completions');
  expect(answer.status).toBe(400);
  expect(answer.body).toMatchObject({ error: { param: 'stream_options' } });
});

test("log-probabilities are the model's own; streamed, each token has its once, with its place in the text", async () => {
  const { client, url } = await run();
  const body = { model: 'tiny', prompt: 'a', max_tokens: 10, seed: 1, top_k: 1, logprobs: 1, stop: ['zq'] };
  const whole = (await client.completions.create({ ...body, temperature: 2 })).choices[0]?.logprobs;
  expect(whole?.tokens?.length).toBeGreaterThan(2);
  whole?.tokens?.forEach((token, i) => {
    expect(whole.top_logprobs?.[i]?.[token]).toBeCloseTo(whole.token_logprobs?.[i] as number, 5);
  });
  const chunks = (await events(url, { ...body, temperature: 2 }, '/v1/completions')) as {
    choices: { logprobs: { tokens: string[]; text_offset: number[]; token_logprobs: number[] } | null }[];
  }[];
  const told = chunks.flatMap(({ choices }) => choices[0]?.logprobs ?? []);
  expect(told.flatMap(({ tokens }) => tokens)).toEqual(whole?.tokens);
  expect(told.flatMap(({ text_offset }) => text_offset)).toEqual(whole?.text_offset);
  expect(told.flatMap(({ token_logprobs }) => token_logprobs)).toEqual(whole?.token_logprobs);
});

test.each([false, true])(
  'when one of several prompts fails, the others are taken out (streamed: %s)',
  async (streamed) => {
    const { url, engine } = await run();
    const real = engine.generate.bind(engine);
    const signals: (AbortSignal | undefined)[] = [];
    let drawn = 0;
    const generate = vi.spyOn(engine, 'generate').mockImplementation(async (request) => {
      signals.push(request.signal);
      if (signals.length === 2) throw new Error('no memory for this one');
      return real({
        ...request,
        stop: [],
        onToken: (...given) => {
          drawn++;
          return request.onToken?.(...given);
        },
      });
    });
    const body = { model: 'tiny', prompt: ['a', 'b', 'c'], max_tokens: 150 };
    const error = { message: 'no memory for this one', type: 'server_error', param: null, code: null };
    if (streamed) expect((await events(url, body, '/v1/completions')).at(-1)).toEqual({ error });
    else expect(await post(url, body, {}, '/v1/completions')).toMatchObject({ status: 500, body: { error } });
    expect(signals.map((signal) => signal?.aborted)).toEqual([true, true, true]);
    expect(engine.load).toEqual({ waiting: 0, active: 0 });
    expect(drawn).toBeLessThan(20);
    generate.mockRestore();
  },
);

test('one request may have more prompts than requests may wait', async () => {
  const { client } = await run({ queue: 1 }, 1);
  const { choices } = await client.completions.create({
    model: 'tiny',
    prompt: ['a', 'b', 'c', 'd'],
    max_tokens: 2,
  });
  expect(choices).toHaveLength(4);
});
