import { evaluate } from '../../eval/evaluate.js';
import { loadModel } from '../../model/checkpoint.js';
import { createTask } from '../../task/registry.js';
import { Tokenizer } from '../../text/tokenizer.js';
import { countFlops } from '../../train/flops.js';
import { useCompute } from '../compute.js';
import { Interrupted, type StageContext, type StageResult } from '../stage.js';
import type { EvalStage } from './eval.schema.js';

/** Measures an earlier stage's model on held-out problems. Short: an interrupted evaluation begins anew. */
export async function run(ctx: StageContext, config: EvalStage): Promise<StageResult> {
  useCompute(ctx.recipe.compute);
  const { model: folder } = ctx.artefact(config.model);
  if (folder === undefined) throw new Error(`stage '${config.model}' left no model`);
  const model = loadModel(folder);
  const tokenizer = Tokenizer.load(folder);
  const task = createTask(ctx.recipe.task, ctx.recipe.base);
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
    const { tokens, ...measures } = evaluation;
    const { k, pass_at_k, ...sampled } = evaluation.sampled ?? { k: 0, pass_at_k: {} };
    ctx.metrics(1, {
      accuracy: evaluation.accuracy,
      format: evaluation.format,
      language_consistency: evaluation.language_consistency,
      mean_length: evaluation.mean_length,
      ...Object.fromEntries(Object.entries(sampled).map(([name, value]) => [`sampled/${name}`, value as number])),
      ...Object.fromEntries(Object.entries(pass_at_k).map(([name, value]) => [`sampled/pass_at_${name}`, value])),
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
      tokens,
      flops: tokens * countFlops(model.config).forward(config.max_tokens),
      eval: { model: folder, task: task.id, ...measures },
    };
  } catch (error) {
    if (ctx.signal.aborted) throw new Interrupted();
    throw error;
  } finally {
    ctx.progress.end();
    model.dispose();
  }
}
