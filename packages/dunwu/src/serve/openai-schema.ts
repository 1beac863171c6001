import { z } from 'zod';

/**
 * What clients of OpenAI's API send, as far as it is served here. A key that would change the answer and is not served is
 * refused by name; those that change nothing for one model on one machine are accepted and passed over.
 */

const refused = (what: string) => z.undefined({ error: `${what} is not served here` }).optional();
const zero = (name: string) => z.literal(0, { error: `${name} is not served here: leave it out, or 0` }).nullish();

/** Longest list of stop strings, and longest of them, in UTF-16 code units. */
const stop = z
  .union([z.string().min(1).max(500), z.array(z.string().min(1).max(500)).max(16)])
  .nullish()
  .transform((given) => (given === null || given === undefined ? [] : typeof given === 'string' ? [given] : given));

const common = {
  model: z.string(),
  temperature: z.number().min(0).max(100).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  /** vLLM's and others' addition. */
  top_k: z.number().int().min(0).nullish(),
  n: z.number().int().min(1).max(128).nullish(),
  seed: z.number().int().nullish(),
  stop,
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_usage: z.boolean().optional() }).nullish(),
  presence_penalty: zero('presence_penalty'),
  frequency_penalty: zero('frequency_penalty'),
  logit_bias: z.strictObject({}, { error: 'logit_bias is not served here' }).nullish(),
  user: z.string().optional(),
  metadata: z.unknown().optional(),
  store: z.unknown().optional(),
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

const message = z
  .object({
    role: z.enum(['system', 'developer', 'user', 'assistant'], {
      error: 'expected system, developer, user or assistant',
    }),
    content: text.nullish().transform((content) => content ?? ''),
    tool_calls: refused('tool_calls'),
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
  tools: refused('tools'),
  tool_choice: refused('tool_choice'),
  functions: refused('functions'),
});

export const chatSchema = chatObject.superRefine((request, context) => {
  checkStream(request, context);
  const issue = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message });
  const { logprobs, top_logprobs, max_tokens, max_completion_tokens } = request;
  if ((top_logprobs ?? 0) > 0 && logprobs !== true) issue('top_logprobs', 'needs logprobs: true');
  if ((max_tokens ?? max_completion_tokens) !== (max_completion_tokens ?? max_tokens)) {
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
  echo: z.literal(false, { error: 'echo is not served here' }).nullish(),
  suffix: z.null({ error: 'suffix is not served here' }).optional(),
  best_of: z.literal(1, { error: 'best_of is not served here' }).nullish(),
});

export const completionSchema = completionObject.superRefine(checkStream);
export type CompletionRequest = z.output<typeof completionSchema>;
