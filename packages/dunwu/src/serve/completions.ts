import { randomUUID } from 'node:crypto';
import type { Context } from 'hono';
import type { DrawnToken } from '../rollout/continuous-engine.js';
import { PromptTooLong } from '../text/prompt-limit.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { ApiError } from './api-error.js';
import { eventStream } from './event-stream.js';
import { encodePrompt, type Finished, type Job, jobOf, requireRoom, usage, work } from './job.js';
import { completionSchema } from './openai-schema.js';
import { readRequest } from './read-request.js';
import type { ServedModel, Service } from './service.js';

/** `POST /v1/completions`: plain text goes on, without a chat template; several prompts are one request. */
export async function completions(c: Context, service: Service): Promise<Response> {
  const { model } = service;
  const request = await readRequest(c, completionSchema, model);
  requireRoom(service);
  const jobs = request.prompt.map((prompt, i) => jobOf(request, promptOf(prompt, model), `completion/${i}`, service));
  const head = {
    id: `cmpl-${randomUUID()}`,
    object: 'text_completion',
    created: Math.floor(Date.now() / 1000),
    model: model.name,
  };
  const prompts = jobs.reduce((sum, job) => sum + job.request.tokens.length, 0);
  const place = (job: number, sample: number) => job * (request.n ?? 1) + sample;
  const wanted = typeof request.logprobs === 'number';
  if (request.stream !== true) {
    const all = await together(jobs, c.req.raw.signal, (job, _, signal) => work(job, service, signal));
    const choices = all.flatMap((finished, job) =>
      finished.map(({ text, drawn, reason }, sample) => ({
        index: place(job, sample),
        text: text.content,
        logprobs: wanted ? tokenLogprobs(drawn, model.tokenizer) : null,
        finish_reason: reason,
      })),
    );
    return c.json({ ...head, choices, usage: usage(prompts, all.flat()) });
  }
  const chunk = (index: number, text: string, logprobs: object | null, reason: string | null) =>
    JSON.stringify({ ...head, choices: [{ index, text, logprobs, finish_reason: reason }] });
  return eventStream(c, async (send, client) => {
    const all = await together(jobs, client, async (job, at, signal) => {
      const lengths = new Array<number>(job.samples).fill(0);
      const finished = await work(job, service, signal, (sample, drawn, pieces) => {
        const text = pieces.map((piece) => piece.text).join('');
        const own = wanted && !model.stop.includes(drawn.token);
        const logprobs = own ? tokenLogprobs([drawn], model.tokenizer, lengths[sample]) : null;
        if (own) lengths[sample] = (lengths[sample] ?? 0) + model.tokenizer.decode([drawn.token]).length;
        if (text !== '' || own) send(chunk(place(at, sample), text, logprobs, null));
      });
      finished.forEach(({ rest, reason }, sample) => {
        send(chunk(place(at, sample), rest.map(({ text }) => text).join(''), null, reason));
      });
      return finished;
    });
    if (request.stream_options?.include_usage === true)
      send(JSON.stringify({ ...head, choices: [], usage: usage(prompts, all.flat()) }));
  });
}

function promptOf(prompt: string, model: ServedModel): number[] {
  const { tokenizer, positions } = model;
  const tokens = encodePrompt('prompt', model, () => {
    PromptTooLong.check(tokenizer, prompt.length, positions);
    return tokenizer.encode(prompt, { allow_special: true });
  });
  const { bos } = tokenizer.special;
  const begun = bos === undefined || tokens[0] === bos ? tokens : [bos, ...tokens];
  if (begun.length === 0) throw new ApiError(400, 'the prompt is empty', { param: 'prompt' });
  return begun;
}

/** All jobs of one request: when one fails, the others are taken out, and its error is the request's. */
async function together(
  jobs: readonly Job[],
  client: AbortSignal,
  run: (job: Job, at: number, signal: AbortSignal) => Promise<Finished[]>,
): Promise<Finished[][]> {
  const failed = new AbortController();
  const signal = AbortSignal.any([client, failed.signal]);
  const errors: unknown[] = [];
  const all = await Promise.all(
    jobs.map(async (job, at) => {
      try {
        return await run(job, at, signal);
      } catch (error) {
        errors.push(error);
        failed.abort();
        return [];
      }
    }),
  );
  if (errors.length > 0) throw errors[0];
  return all;
}

/** Of the model's own distribution, whatever the temperature. @param from where the first token's text begins */
function tokenLogprobs(drawn: readonly DrawnToken[], tokenizer: Tokenizer, from = 0): object {
  const text = (id: number): string => tokenizer.decode([id]);
  let offset = from;
  return {
    tokens: drawn.map(({ token }) => text(token)),
    token_logprobs: drawn.map(({ own }) => own),
    top_logprobs: drawn.map(({ top }) => Object.fromEntries(top.map(([id, value]) => [text(id), value]))),
    text_offset: drawn.map(({ token }) => {
      const at = offset;
      offset += text(token).length;
      return at;
    }),
  };
}
