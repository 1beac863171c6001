import { z } from 'zod';

/**
 * What clients of OpenAI's API send, as far as it is served here. A value that would change the answer and is not served is
 * refused by name. Values that change nothing are accepted and passed over: null for whatever is optional, what says the
 * same as leaving it out, and what is about accounts, bills and caches, of which one model on one machine has none.
 */

/** A key of which only values that change nothing are taken. */
const only = (neutral: (value: unknown) => boolean, more = '') =>
  z
    .unknown()
    .refine((value) => value === undefined || value === null || neutral(value), { error: `is not served here${more}` })
    .optional();
const never = only(() => false);
const no = only((value) => value === false, ': leave it out, or false');
const exactly = (number: number) => only((value) => value === number, `: leave it out, or ${number}`);
const emptyList = only((value) => Array.isArray(value) && value.length === 0);
const toolChoice = only((value) => value === 'none' || value === 'auto');
const label = z.string().nullish();

/** Longest list of stop strings, and longest of them, in UTF-16 code units. */
const stop = z
  .union([z.string().min(1).max(500), z.array(z.string().min(1).max(500)).max(16)])
  .nullish()
  .transform((given) => (given === null || given === undefined ? [] : typeof given === 'string' ? [given] : given));

const common = {
  model: z.string(),
  temperature: z.number().min(0).max(100).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  /** vLLM's and others' addition; 0 and −1 are all tokens. */
  top_k: z
    .number()
    .int()
    .min(-1)
    .nullish()
    .transform((given) => (given === -1 ? 0 : given)),
  n: z.number().int().min(1).max(128).nullish(),
  seed: z.number().int().nullish(),
  stop,
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_usage: z.boolean().nullish(), include_obfuscation: no }).nullish(),
  presence_penalty: exactly(0),
  frequency_penalty: exactly(0),
  /** vLLM's. */
  repetition_penalty: exactly(1),
  min_p: exactly(0),
  logit_bias: only(
    (value) => typeof value === 'object' && Object.values(value as object).every((bias) => bias === 0),
    ': leave it out, or {}',
  ),
  user: label,
};

const text = z.union([
  z.string(),
  z
    .array(
      z.strictObject({
        type: z.literal('text', { error: 'only content of type text is served here' }),
        text: z.string(),
      }),
    )
    .transform((parts) => parts.map((part) => part.text).join('')),
]);

/** An answer may be sent back as it came: its thought is no part of the prompt. */
const message = z
  .strictObject({
    role: z.enum(['system', 'developer', 'user', 'assistant'], {
      error: 'expected system, developer, user or assistant',
    }),
    content: text.nullish().transform((content) => content ?? ''),
    reasoning_content: label,
    name: never,
    refusal: never,
    audio: never,
    annotations: emptyList,
    tool_calls: emptyList,
    function_call: never,
  })
  .refine(({ role, reasoning_content }) => role === 'assistant' || typeof reasoning_content !== 'string', {
    path: ['reasoning_content'],
    error: "is the assistant's alone",
  })
  .transform(({ role, content }) => ({ role: role === 'developer' ? ('system' as const) : role, content }));

/** As OpenAI does: what would be ignored is refused. */
function checkStream(
  request: { readonly stream?: boolean | null | undefined; readonly stream_options?: object | null | undefined },
  context: z.core.$RefinementCtx,
): void {
  if (request.stream === true || request.stream_options === null || request.stream_options === undefined) return;
  context.addIssue({ code: 'custom', path: ['stream_options'], message: 'is for stream: true alone' });
}

const chatObject = z.strictObject({
  ...common,
  messages: z.array(message).min(1),
  max_tokens: z.number().int().min(1).nullish(),
  max_completion_tokens: z.number().int().min(1).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.number().int().min(0).max(20).nullish(),
  response_format: z.strictObject({ type: z.literal('text', { error: 'only text is served here' }) }).nullish(),
  modalities: only((value) => Array.isArray(value) && value.every((one) => one === 'text'), ': only text is'),
  tools: emptyList,
  tool_choice: toolChoice,
  functions: emptyList,
  function_call: toolChoice,
  /** There are no tools that could be called at once. */
  parallel_tool_calls: z.boolean().nullish(),
  /** How long a model thinks is its own affair here. */
  reasoning_effort: never,
  verbosity: never,
  audio: never,
  prediction: never,
  web_search_options: never,
  store: no,
  metadata: z.record(z.string(), z.string()).nullish(),
  service_tier: only((value) => value === 'auto' || value === 'default', ': leave it out, or auto'),
  safety_identifier: label,
  prompt_cache_key: label,
  prompt_cache_retention: label,
});

export const chatSchema = chatObject.superRefine((request, context) => {
  checkStream(request, context);
  const issue = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message });
  const { logprobs, top_logprobs, max_tokens, max_completion_tokens } = request;
  if ((top_logprobs ?? 0) > 0 && logprobs !== true) issue('top_logprobs', 'needs logprobs: true');
  // null is nothing, as undefined is: both have to be numbers to differ.
  if (typeof max_tokens === 'number' && (max_completion_tokens ?? max_tokens) !== max_tokens) {
    issue('max_tokens', 'and max_completion_tokens say different things: give one');
  }
});
export type ChatRequest = z.output<typeof chatSchema>;

const completionObject = z.strictObject({
  ...common,
  prompt: z
    .union([z.string(), z.array(z.string()).min(1).max(64)])
    .transform((given) => (typeof given === 'string' ? [given] : given)),
  max_tokens: z.number().int().min(1).nullish(),
  logprobs: z.number().int().min(0).max(20).nullish(),
  echo: no,
  suffix: only((value) => value === ''),
  best_of: z.number().nullish(),
});

export const completionSchema = completionObject.superRefine((request, context) => {
  checkStream(request, context);
  const { best_of, n } = request;
  if ((best_of ?? n ?? 1) === (n ?? 1)) return;
  context.addIssue({ code: 'custom', path: ['best_of'], message: 'is not served here: leave it out, or as many as n' });
});
export type CompletionRequest = z.output<typeof completionSchema>;
