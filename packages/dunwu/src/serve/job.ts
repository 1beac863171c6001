import { randomInt } from 'node:crypto';
import type { DrawnToken, Generated, GenerationRequest } from '../rollout/continuous-engine.js';
import { begunThought } from '../text/begun-thought.js';
import { PromptTooLong } from '../text/prompt-limit.js';
import { type AnswerPiece, AnswerReader } from './answer-reader.js';
import { ApiError } from './api-error.js';
import type { ChatRequest, CompletionRequest } from './openai-schema.js';
import type { ServedModel, Service } from './service.js';

/** One prompt's work, whatever the endpoint. */
export interface Job {
  readonly request: GenerationRequest;
  readonly samples: number;
  /** All is content. */
  readonly raw: boolean;
  /** The prompt has begun the thought. */
  readonly thinking: boolean;
}

/** Told every token as it is drawn, and what of the text became clear with it. */
export type OnToken = (sample: number, drawn: DrawnToken, pieces: readonly AnswerPiece[]) => void;

export interface Finished {
  readonly generated: Generated;
  /** The response's text, by its parts. */
  readonly text: Readonly<Record<AnswerPiece['part'], string>>;
  /** The end of `text` that no token brought, as it might have become a stop string. */
  readonly rest: readonly AnswerPiece[];
  readonly reasoningTokens: number;
  /** Without the one that ended it. */
  readonly drawn: readonly DrawnToken[];
  readonly reason: 'stop' | 'length';
}

const DEFAULT_NEW_TOKENS = 1024;

/** Looked at before a request's text is: that costs nothing. @throws ApiError when too many requests wait already */
export function requireRoom({ engine, settings }: Service): void {
  if (engine.load.waiting < settings.queue) return;
  throw new ApiError(429, `${settings.queue} requests wait already: come again later`, {
    code: 'rate_limit_exceeded',
    type: 'rate_limit_error',
  });
}

/** Makes a request's text tokens. @throws ApiError for a text that is too long, however it was told */
export function encodePrompt(param: string, { positions }: ServedModel, encode: () => number[]): number[] {
  try {
    return encode();
  } catch (error) {
    if (!(error instanceof PromptTooLong)) throw error;
    throw new ApiError(400, `${error.message}; the model reaches to ${positions}, the answer included`, {
      code: 'context_length_exceeded',
      param,
    });
  }
}

/** @throws ApiError when the engine could never do it */
export function jobOf(
  asked: ChatRequest | CompletionRequest,
  tokens: readonly number[],
  key: string,
  { engine, model }: Service,
): Job {
  const room = model.positions - tokens.length;
  if (room < 1) {
    throw new ApiError(
      400,
      `the prompt has ${tokens.length} tokens; the model reaches to ${model.positions}, the answer included`,
      { code: 'context_length_exceeded' },
    );
  }
  const longest = ('max_completion_tokens' in asked ? asked.max_completion_tokens : null) ?? asked.max_tokens;
  if (longest !== null && longest !== undefined && longest > room) {
    throw new ApiError(
      400,
      `max_tokens ${longest} and a prompt of ${tokens.length} tokens exceed the model's ${model.positions} positions`,
      { code: 'context_length_exceeded', param: 'max_tokens' },
    );
  }
  const chat = 'messages' in asked;
  const samples = asked.n ?? 1;
  const request: GenerationRequest = {
    tokens,
    samples,
    sampling: {
      temperature: asked.temperature ?? 1,
      top_p: asked.top_p ?? 1,
      top_k: asked.top_k ?? 0,
      max_tokens: longest ?? Math.min(room, DEFAULT_NEW_TOKENS),
      stop: asked.stop,
    },
    seed: asked.seed ?? randomInt(2 ** 47),
    key,
    stop: model.stop,
    tokenizer: model.tokenizer,
    top: (chat ? asked.top_logprobs : asked.logprobs) ?? 0,
  };
  const problem = engine.problem(request);
  if (problem !== null) throw new ApiError(400, problem);
  const thinking = chat && begunThought(model.tokenizer, tokens) !== '';
  return { request, samples, raw: !chat, thinking };
}

/** Runs a job to its end. @throws ApiError when it takes too long or the client goes; what the engine throws is its own */
export async function work(
  { request, samples, raw, thinking }: Job,
  { engine, model, settings }: Service,
  client: AbortSignal,
  onToken?: OnToken,
): Promise<Finished[]> {
  const { stop, tokenizer } = model;
  const late = AbortSignal.timeout(settings.timeoutMs);
  const options = { ends: stop, stop: request.sampling.stop, raw, thinking };
  const readers = Array.from({ length: samples }, () => new AnswerReader(tokenizer, options));
  const texts = readers.map(() => ({ reasoning: '', content: '' }));
  const drawn: DrawnToken[][] = readers.map(() => []);
  const append = (sample: number, pieces: readonly AnswerPiece[]): void => {
    for (const { part, text } of pieces) (texts[sample] as Record<AnswerPiece['part'], string>)[part] += text;
  };
  const generated = await engine.generate({
    ...request,
    signal: AbortSignal.any([client, late]),
    onToken: (token, sample) => {
      const pieces = (readers[sample] as AnswerReader).push(token.token);
      if (!stop.includes(token.token)) drawn[sample]?.push(token);
      append(sample, pieces);
      onToken?.(sample, token, pieces);
    },
  });
  if (generated.some(({ reason }) => reason === 'cancelled')) {
    if (late.aborted)
      throw new ApiError(504, `the answer took more than ${settings.timeoutMs / 1000} s`, { code: 'timeout' });
    throw new ApiError(408, 'the client has gone');
  }
  return generated.map((one, sample) => {
    const reader = readers[sample] as AnswerReader;
    const rest = reader.end();
    append(sample, rest);
    return {
      generated: one,
      text: texts[sample] as Finished['text'],
      rest,
      reasoningTokens: reader.reasoningTokens,
      drawn: drawn[sample] as DrawnToken[],
      reason: one.reason === 'length' ? 'length' : 'stop',
    };
  });
}

/** OpenAI's count of tokens. */
export function usage(prompt: number, finished: readonly Finished[]): object {
  const completion = finished.reduce((sum, { generated }) => sum + generated.tokens.length, 0);
  const reasoning = finished.reduce((sum, { reasoningTokens }) => sum + reasoningTokens, 0);
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    completion_tokens_details: { reasoning_tokens: reasoning },
  };
}
