import { randomUUID } from 'node:crypto';
import type { Context } from 'hono';
import type { DrawnToken } from '../rollout/continuous-engine.js';
import { PromptTooLong } from '../text/prompt-limit.js';
import { renderMessages } from '../text/template.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { errorText } from '../util/errors.js';
import type { AnswerPiece } from './answer-reader.js';
import { ApiError } from './api-error.js';
import { eventStream } from './event-stream.js';
import { encodePrompt, jobOf, requireRoom, usage, work } from './job.js';
import { type ChatRequest, chatSchema } from './openai-schema.js';
import { readRequest } from './read-request.js';
import type { ServedModel, Service } from './service.js';

/** `POST /v1/chat/completions`. The thought is sent apart from the answer, as DeepSeek's API does (`reasoning_content`). */
export async function chatCompletions(c: Context, service: Service): Promise<Response> {
  const { model } = service;
  const request = await readRequest(c, chatSchema, model);
  requireRoom(service);
  const tokens = promptOf(request, model);
  const job = jobOf(request, tokens, 'chat', service);
  const head = {
    id: `chatcmpl-${randomUUID()}`,
    created: Math.floor(Date.now() / 1000),
    model: model.name,
    system_fingerprint: null,
  };
  const logprobs = (drawn: readonly DrawnToken[]) => ({
    logprobs: request.logprobs === true ? { content: drawn.map((one) => tokenLogprob(one, model.tokenizer)) } : null,
  });
  if (request.stream !== true) {
    const finished = await work(job, service, c.req.raw.signal);
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
  // One choice a chunk: clients of one answer read the first alone.
  const part = (index: number, delta: object, more: object = { logprobs: null }, reason: string | null = null) =>
    chunk([{ index, delta, ...more, finish_reason: reason }]);
  return eventStream(c, async (send, client) => {
    for (let index = 0; index < job.samples; index++) send(part(index, { role: 'assistant', content: '' }));
    const finished = await work(job, service, client, (sample, drawn, pieces) => {
      // With the first piece that a token brought, or by itself: each token is told once.
      const own = logprobs(model.stop.includes(drawn.token) ? [] : [drawn]);
      pieces.forEach((piece, i) => {
        send(part(sample, deltaOf(piece), i === 0 ? own : undefined));
      });
      if (pieces.length === 0 && (own.logprobs?.content.length ?? 0) > 0) send(part(sample, {}, own));
    });
    finished.forEach(({ rest, reason }, index) => {
      for (const piece of rest) send(part(index, deltaOf(piece)));
      send(part(index, {}, undefined, reason));
    });
    if (request.stream_options?.include_usage === true) send(chunk([], { usage: usage(tokens.length, finished) }));
  });
}

function promptOf({ messages }: ChatRequest, model: ServedModel): number[] {
  return encodePrompt('messages', model, () => {
    try {
      return renderMessages(model.tokenizer, messages, { add_generation_prompt: true, at_most: model.positions });
    } catch (error) {
      if (error instanceof PromptTooLong) throw error;
      // What a template says of messages that it does not take: roles that do not alternate, say.
      throw new ApiError(400, errorText(error), { param: 'messages' });
    }
  });
}

function deltaOf({ part, text }: AnswerPiece): object {
  return part === 'reasoning' ? { reasoning_content: text } : { content: text };
}

/** Of the model's own distribution, whatever the temperature: what was drawn, and the likeliest. */
function tokenLogprob({ token, own, top }: DrawnToken, tokenizer: Tokenizer): object {
  const named = (id: number, logprob: number) => {
    const text = tokenizer.decode([id]);
    return { token: text, logprob, bytes: [...new TextEncoder().encode(text)] };
  };
  return { ...named(token, own), top_logprobs: top.map(([id, value]) => named(id, value)) };
}
