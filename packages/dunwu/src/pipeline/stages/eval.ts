import { type EvaluatedSample, evaluate, evaluationRecord } from '../../eval/evaluate.js';
import { type GeneralEvaluation, summariseGeneral } from '../../eval/general.js';
import { loadForDecoding } from '../../model/decoding-model.js';
import { createGeneral } from '../../task/general.js';
import type { Problem } from '../../task/problem.js';
import { Tokenizer } from '../../text/tokenizer.js';
import { countFlops } from '../../train/flops.js';
import { useCompute } from '../compute.js';
import { Interrupted, type StageContext, type StageResult } from '../stage.js';
import { modelOf, taskOf } from './common.js';
import type { EvalStage } from './eval.schema.js';

/** Measures an earlier stage's model on held-out problems. Short: an interrupted evaluation begins anew. */
export async function run(ctx: StageContext, config: EvalStage): Promise<StageResult> {
  const device = useCompute(ctx.recipe.compute);
  const folder = modelOf(ctx, config.model);
  const model = loadForDecoding(folder, device);
  const tokenizer = Tokenizer.load(folder);
  const task = taskOf(ctx, config);
  const problems = task.fixed(config.split, config.n);
  const { general } = config;
  const of = (part: { readonly n: number; readonly samples: number }): number => part.n * (1 + part.samples);
  const total = of(config) + (general === undefined ? 0 : of(general));
  ctx.progress.start(`evaluate ${config.model}`, total, { unit: 'samples' });
  try {
    const measureOn = (asked: readonly Problem[], k: number, before: number) =>
      evaluate(model, tokenizer, asked, {
        samples: k,
        maxTokens: config.max_tokens,
        ...(config.stop === undefined ? {} : { stop: config.stop }),
        seed: ctx.seed,
        signal: ctx.signal,
        onProgress: (finished) => ctx.progress.update(before + finished),
      });
    const { evaluation, samples } = await measureOn(problems, config.samples, 0);
    const beside =
      general === undefined
        ? undefined
        : await measureOn(createGeneral(general.task).fixed(config.split, general.n), general.samples, of(config));
    const generalMeasures = beside && summariseGeneral(beside.samples, general?.samples ?? 0);
    const tokens = evaluation.tokens + (beside?.evaluation.tokens ?? 0);
    const { sampled } = evaluation;
    ctx.metrics(1, {
      accuracy: evaluation.accuracy,
      format: evaluation.format,
      language_consistency: evaluation.language_consistency,
      readability: evaluation.readability,
      mean_length: evaluation.mean_length,
      ...(sampled === undefined
        ? {}
        : {
            'sampled/accuracy': sampled.accuracy,
            'sampled/format': sampled.format,
            'sampled/language_consistency': sampled.language_consistency,
            'sampled/readability': sampled.readability,
            'sampled/mean_length': sampled.mean_length,
            ...(sampled.cons_at_k === undefined ? {} : { 'sampled/cons_at_k': sampled.cons_at_k }),
          }),
      ...generalMetrics(generalMeasures),
      ...Object.fromEntries(
        Object.entries(sampled?.pass_at ?? {}).map(([k, share]) => [`sampled/pass_at_${k}`, share]),
      ),
    });
    for (const list of [samples, beside?.samples ?? []]) ctx.samples(1, list.slice(0, config.keep).map(sampleRow));
    return {
      tokens,
      flops: tokens * countFlops(model.config).forward(config.max_tokens),
      eval: {
        ...evaluationRecord(folder, task.id, evaluation),
        ...(generalMeasures === undefined ? {} : { general: generalMeasures }),
      },
    };
  } catch (error) {
    if (ctx.signal.aborted) throw new Interrupted();
    throw error;
  } finally {
    ctx.progress.end();
    model.dispose();
  }
}

function sampleRow({ problem, response, mode, trace }: EvaluatedSample) {
  return {
    id: problem.id,
    source: problem.source,
    language: problem.language,
    ...(problem.meta.harmful === true ? { harmful: true } : {}),
    mode,
    prompt: problem.prompt,
    ...(problem.answer === undefined ? {} : { answer: problem.answer }),
    response,
    trace,
  };
}

function generalMetrics(general: GeneralEvaluation | undefined): Record<string, number> {
  const metrics: Record<string, number> = {};
  for (const [prefix, measures] of [
    ['general', general],
    ['general/sampled', general?.sampled],
  ] as const) {
    for (const key of ['instruction_following', 'refusal', 'over_refusal', 'mean_length'] as const) {
      const value = measures?.[key];
      if (typeof value === 'number') metrics[`${prefix}/${key}`] = value;
    }
  }
  return metrics;
}
