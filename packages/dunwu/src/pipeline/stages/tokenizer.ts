import { createSource } from '../../data/source.js';
import { createTask } from '../../task/registry.js';
import { BpeTrainer } from '../../text/bpe-trainer.js';
import { saveTokenizer } from '../../text/tokenizer-file.js';
import { documentText } from '../documents.js';
import type { StageContext, StageResult } from '../stage.js';
import type { TokenizerStage } from './tokenizer.schema.js';

/** Learns a byte-level BPE vocabulary from the corpus. Fast enough to be begun anew after an interruption. */
export async function run(ctx: StageContext, config: TokenizerStage): Promise<StageResult> {
  const task = createTask(ctx.recipe.task, ctx.recipe.base);
  const source = createSource(config.corpus, {
    task,
    seed: ctx.seed,
    base: ctx.recipe.base,
  });
  const trainer = new BpeTrainer({
    vocab_size: config.vocab_size,
    digits: config.digits,
    min_frequency: config.min_frequency,
  });
  ctx.progress.start('tokenizer', config.documents, { unit: 'documents' });
  let characters = 0;
  for (let i = 1; i <= config.documents; i++) {
    const document = source.next();
    if (document === undefined) break;
    for (const text of documentText(document)) {
      trainer.add(text);
      characters += text.length;
    }
    if (i % 500 === 0) {
      ctx.progress.update(i);
      await ctx.interrupted();
      ctx.signal.throwIfAborted();
    }
  }
  ctx.progress.end();
  source.close();
  const bpe = trainer.train();
  await saveTokenizer(ctx.modelDir, bpe);
  ctx.metrics(1, { vocab_size: bpe.vocab.length, merges: bpe.merges.length, characters });
  return {
    tokenizer: ctx.modelDir,
    tokens: 0,
    flops: 0,
    notes: [`${bpe.merges.length} merges learnt from ${characters} characters`],
  };
}
