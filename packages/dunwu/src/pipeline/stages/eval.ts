import { evaluate, evaluationRecord } from '../../eval/evaluate.js';
import { loadModel } from '../../model/checkpoint.js';
import { Tokenizer } from '../../text/tokenizer.js';
import { countFlops } from '../../train/flops.js';
import { useCompute } from '../compute.js';
import { Interrupted, type StageContext, type StageResult } from '../stage.js';
import { modelOf, taskOf } from './common.js';
import type { EvalStage } from './eval.schema.js';

/** Measures an earlier stage's model on held-out problems. Short: an interrupted evaluation begins anew. */
export async function run(ctx: StageContext, config: EvalStage): Promise<StageResult> {
  useCompute(ctx.recipe.compute);
  const folder = modelOf(ctx, config.model);
  const model = loadModel(folder);
  const tokenizer = Tokenizer.load(folder);
  const task = taskOf(ctx, config);
  const problems = task.fixed(config.split, config.n);
  ctx.progress.start(`evaluate ${config.model}`, config.n * (1 + config.samples), { unit: 'samples' });
  try {
    const { evaluation, samples } = await evaluate(model, tokenizer, problems, {
      samples: config.samples,
      maxTokens: config.max_tokens,
      seed: ctx.seed,
      signal: ctx.signal,
      onProgress: (finished) => ctx.progress.update(finished),
    });
    const { sampled } = evaluation;
    ctx.metrics(1, {
      accuracy: evaluation.accuracy,
      format: evaluation.format,
      language_consistency: evaluation.language_consistency,
      mean_length: evaluation.mean_length,
      ...(sampled === undefined
        ? {}
        : {
            'sampled/accuracy': sampled.accuracy,
            'sampled/format': sampled.format,
            'sampled/language_consistency': sampled.language_consistency,
            'sampled/cons_at_k': sampled.cons_at_k,
          }),
      ...Object.fromEntries(
        Object.entries(sampled?.pass_at ?? {}).map(([k, share]) => [`sampled/pass_at_${k}`, share]),
      ),
    });
    ctx.samples(
      1,
      samples.slice(0, config.keep).map(({ problem, response, mode, trace }) => ({
        id: problem.id,
        language: problem.language,
        mode,
        prompt: problem.prompt,
        ...(problem.answer === undefined ? {} : { answer: problem.answer }),
        response,
        trace,
      })),
    );
    return {
      tokens: evaluation.tokens,
      flops: evaluation.tokens * countFlops(model.config).forward(config.max_tokens),
      eval: evaluationRecord(folder, task.id, evaluation),
    };
  } catch (error) {
    if (ctx.signal.aborted) throw new Interrupted();
    throw error;
  } finally {
    ctx.progress.end();
    model.dispose();
  }
}
