import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { renderPrompt } from '../text/template.js';
import { R1_DISTILL_TEMPLATE } from '../text/testing/make-tokenizer.js';
import { ask, events, type Harness, makeHarness } from './testing/harness.js';

let harness: Harness;
const run: Harness['run'] = (...given) => harness.run(...given);
beforeAll(async () => {
  harness = await makeHarness();
});
afterAll(() => harness.dispose());

describe('with the official client', () => {
  test('the same seed the same answer, another one another; usage is counted', async () => {
    const { client } = await run();
    const one = await client.chat.completions.create(ask('how many'));
    const prompt = renderPrompt(harness.tokenizer, 'how many').length;
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

  test("log-probabilities are of the model's own distribution, whatever the temperature", async () => {
    const { client } = await run();
    const at = async (temperature: number) => {
      const { choices } = await client.chat.completions.create(
        ask('a', { temperature, top_k: 1, logprobs: true, top_logprobs: 2, max_tokens: 5 }),
      );
      return choices[0]?.logprobs?.content ?? [];
    };
    const cold = await at(0);
    expect(cold.length).toBeGreaterThan(0);
    for (const { token, logprob, top_logprobs, bytes } of cold) {
      expect(top_logprobs).toHaveLength(2);
      // The likeliest is taken: by temperature 0, or as the only one that top_k leaves.
      expect(top_logprobs[0]?.token).toBe(token);
      expect(top_logprobs[0]?.logprob).toBeCloseTo(logprob, 5);
      expect(bytes).toEqual([...new TextEncoder().encode(token)]);
    }
    for (const temperature of [1e-40, 0.3, 1, 3]) {
      const warm = await at(temperature);
      expect(warm.map(({ token }) => token)).toEqual(cold.map(({ token }) => token));
      warm.forEach(({ logprob, top_logprobs }, i) => {
        expect(logprob).toBeCloseTo(cold[i]?.logprob as number, 5);
        expect(top_logprobs[1]?.logprob).toBeCloseTo(cold[i]?.top_logprobs[1]?.logprob as number, 5);
      });
    }
  });

  test('streamed, each token has its log-probability once, one choice a chunk', async () => {
    const { client, url } = await run();
    const body = ask('a', { logprobs: true, max_tokens: 20, stop: ['zq'] });
    const whole = await client.chat.completions.create(body);
    const chunks = (await events(url, body)) as { choices: { logprobs: { content: object[] } | null }[] }[];
    expect(chunks.every(({ choices }) => choices.length === 1)).toBe(true);
    expect(chunks.flatMap(({ choices }) => choices[0]?.logprobs?.content ?? [])).toEqual(
      whole.choices[0]?.logprobs?.content,
    );
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

describe('thoughts', () => {
  test("what the checkpoint's template begins is reasoning_content, streamed or not", async () => {
    const distilled = await makeHarness(R1_DISTILL_TEMPLATE);
    const { client, url } = await distilled.run();
    const { tokenizer } = distilled;
    try {
      const thinking = ask('a', { max_tokens: 30, n: 3 });
      const { choices, usage } = await client.chat.completions.create(thinking);
      for (const { message } of choices) {
        const { content, reasoning_content } = message as { content: string; reasoning_content?: string };
        expect(content).toBe(''); // a random model does not close the thought
        expect(reasoning_content?.length).toBeGreaterThan(0);
      }
      expect(usage?.completion_tokens_details?.reasoning_tokens).toBeGreaterThan(0);
      expect(usage?.prompt_tokens).toBe(renderPrompt(tokenizer, 'a').length);
      const texts = ['', '', ''];
      for (const chunk of (await events(url, thinking)) as {
        choices: { index: number; delta: { reasoning_content?: string } }[];
      }[]) {
        for (const { index, delta } of chunk.choices) texts[index] += delta.reasoning_content ?? '';
      }
      expect(texts).toEqual(
        choices.map(({ message }) => (message as { reasoning_content?: string }).reasoning_content ?? ''),
      );
    } finally {
      distilled.dispose();
    }
  });

  test('an answer may be sent back as it came; its thought is no part of the prompt', async () => {
    const { client } = await run();
    const turns = (answer: object) => ({
      model: 'tiny',
      max_tokens: 8,
      seed: 1,
      messages: [
        { role: 'user' as const, content: 'a' },
        { role: 'assistant' as const, content: 'b', ...answer },
        { role: 'user' as const, content: 'c' },
      ],
    });
    const plain = await client.chat.completions.create(turns({}));
    const whole = await client.chat.completions.create(
      turns({ reasoning_content: 'long', refusal: null, tool_calls: [], annotations: [], audio: null, name: null }),
    );
    expect(whole.usage).toEqual(plain.usage);
    expect(whole.choices).toEqual(plain.choices);
  });
});
