import { describe, expect, test } from 'vitest';
import { chatSchema, completionSchema } from './openai-schema.js';

const chat = (more: object) =>
  chatSchema.safeParse({ model: 'm', messages: [{ role: 'user', content: 'a' }], ...more });
const complete = (more: object) => completionSchema.safeParse({ model: 'm', prompt: 'a', ...more });
const turn = (more: object) =>
  chatSchema.safeParse({ model: 'm', messages: [{ role: 'assistant', content: 'a', ...more }] });

/** Every optional key of OpenAI's reference (and vLLM's additions that are known here). */
const COMMON =
  'temperature top_p top_k n seed stop stream stream_options presence_penalty frequency_penalty repetition_penalty min_p logit_bias user'.split(
    ' ',
  );
const CHAT =
  'max_tokens max_completion_tokens logprobs top_logprobs response_format modalities tools tool_choice functions function_call parallel_tool_calls reasoning_effort verbosity audio prediction web_search_options store metadata service_tier safety_identifier prompt_cache_key prompt_cache_retention'.split(
    ' ',
  );
const COMPLETION = 'max_tokens logprobs echo suffix best_of'.split(' ');

describe('null is as good as nothing', () => {
  test.each([...COMMON, ...CHAT])('chat: %s', (key) => {
    expect(chat({ [key]: null }).success).toBe(true);
  });
  test.each([...COMMON, ...COMPLETION])('completions: %s', (key) => {
    expect(complete({ [key]: null }).success).toBe(true);
  });
});

describe('what changes nothing is taken', () => {
  test.each<[string, unknown]>([
    ['tools', []],
    ['tool_choice', 'none'],
    ['tool_choice', 'auto'],
    ['functions', []],
    ['function_call', 'none'],
    ['parallel_tool_calls', true],
    ['parallel_tool_calls', false],
    ['response_format', { type: 'text' }],
    ['modalities', ['text']],
    ['store', false],
    ['metadata', { run: '7' }],
    ['service_tier', 'auto'],
    ['service_tier', 'default'],
    ['user', 'me'],
    ['safety_identifier', 'me'],
    ['prompt_cache_key', 'k'],
    ['prompt_cache_retention', '24h'],
    ['stop', []],
    ['top_logprobs', 0],
    ['stream_options', null],
  ])('chat: %s %j', (key, value) => {
    expect(chat({ [key]: value }).success).toBe(true);
  });

  test.each<[string, unknown]>([
    ['presence_penalty', 0],
    ['frequency_penalty', 0],
    ['repetition_penalty', 1],
    ['min_p', 0],
    ['logit_bias', {}],
    ['logit_bias', { 50256: 0 }],
  ])('chat and completions: %s %j', (key, value) => {
    expect(chat({ [key]: value }).success).toBe(true);
    expect(complete({ [key]: value }).success).toBe(true);
  });

  test('completions: echo, suffix, best_of', () => {
    for (const same of [{ echo: false }, { suffix: '' }, { best_of: 1 }, { best_of: 3, n: 3 }]) {
      expect(complete(same).success).toBe(true);
    }
  });

  test('what says the same twice', () => {
    expect(chat({ max_tokens: 3, max_completion_tokens: 3 }).success).toBe(true);
    expect(chat({ max_tokens: null, max_completion_tokens: 3 }).success).toBe(true);
    expect(chat({ stream: true, stream_options: { include_usage: null, include_obfuscation: false } }).success).toBe(
      true,
    );
  });

  test('top_k −1 is all, as 0 is', () => {
    expect(chat({ top_k: -1 }).data?.top_k).toBe(0);
    expect(chat({ top_k: 5 }).data?.top_k).toBe(5);
  });
});

describe('what would be ignored is refused by name', () => {
  test.each<[string, unknown]>([
    ['tools', [{ type: 'function', function: { name: 'f' } }]],
    ['tool_choice', 'required'],
    ['tool_choice', { type: 'function', function: { name: 'f' } }],
    ['functions', [{ name: 'f' }]],
    ['function_call', { name: 'f' }],
    ['modalities', ['text', 'audio']],
    ['reasoning_effort', 'high'],
    ['reasoning_effort', 'none'],
    ['verbosity', 'low'],
    ['audio', { voice: 'x' }],
    ['prediction', { type: 'content', content: 'x' }],
    ['web_search_options', {}],
    ['store', true],
    ['service_tier', 'flex'],
    ['presence_penalty', 0.5],
    ['frequency_penalty', -1],
    ['repetition_penalty', 1.1],
    ['min_p', 0.1],
    ['logit_bias', { 5: -100 }],
  ])('%s %j', (key, value) => {
    const issue = chat({ [key]: value }).error?.issues[0];
    expect(issue?.path).toEqual([key]);
    expect(issue?.message).toMatch(/^is not served here/);
  });

  test.each<[object, string]>([
    [{ echo: true }, 'echo'],
    [{ suffix: 'x' }, 'suffix'],
    [{ best_of: 2 }, 'best_of'],
    [{ best_of: 3, n: 2 }, 'best_of'],
  ])('completions: %j', (more, key) => {
    expect(complete(more).error?.issues[0]).toMatchObject({
      path: [key],
      message: expect.stringMatching(/^is not served here/),
    });
  });

  test('a format, options of a stream, an unknown key', () => {
    const where = (more: object) => chat(more).error?.issues[0];
    expect(where({ response_format: { type: 'json_object' } })?.path).toEqual(['response_format', 'type']);
    expect(where({ stream: true, stream_options: { include_obfuscation: true } })?.path).toEqual([
      'stream_options',
      'include_obfuscation',
    ]);
    expect(where({ stream_options: {} })).toMatchObject({
      path: ['stream_options'],
      message: 'is for stream: true alone',
    });
    expect(where({ speed: 9 })).toMatchObject({ code: 'unrecognized_keys', keys: ['speed'] });
  });
});

describe('messages', () => {
  test('an answer as it came', () => {
    const whole = { reasoning_content: 't', refusal: null, audio: null, annotations: [], tool_calls: [], name: null };
    expect(turn({ ...whole, function_call: null }).data?.messages).toEqual([{ role: 'assistant', content: 'a' }]);
  });

  test('parts of text are put together; developer is system; no content is none', () => {
    const messages = [
      {
        role: 'developer',
        content: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b' },
        ],
      },
      { role: 'assistant', content: null },
    ];
    expect(chat({ messages }).data?.messages).toEqual([
      { role: 'system', content: 'ab' },
      { role: 'assistant', content: '' },
    ]);
  });

  test.each<[object, string]>([
    [{ name: 'Anna' }, 'name'],
    [{ refusal: 'no' }, 'refusal'],
    [{ tool_calls: [{ id: 'x' }] }, 'tool_calls'],
    [{ function_call: { name: 'f' } }, 'function_call'],
    [{ annotations: [{}] }, 'annotations'],
    [{ role: 'user', reasoning_content: 't' }, 'reasoning_content'],
  ])('%j is refused', (more, key) => {
    expect(turn(more).error?.issues[0]?.path).toEqual(['messages', 0, key]);
  });
});
