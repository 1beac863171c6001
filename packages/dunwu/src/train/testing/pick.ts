import { Loader } from '../../data/loader.js';
import type { CausalModel } from '../../model/causal-model.js';
import { TINY, tinyModel } from '../../model/testing/tiny.js';
import type { Problem, Task } from '../../task/problem.js';
import { renderDocument } from '../../text/template.js';
import { makeTokenizer, SMALL_CORPUS } from '../../text/testing/make-tokenizer.js';
import type { Tokenizer } from '../../text/tokenizer.js';
import { Random } from '../../util/random.js';
import { pretrain } from '../pretrain.js';
import { pretrainConfig } from '../pretrain-config.js';
import { TestHost } from './host.js';

const shape = { ...TINY, vocab_size: 280, hidden_size: 32, num_hidden_layers: 2, initializer_range: 0.08 };

/** Right is one fixed number, so that a policy without understanding can learn it. */
export function pickTask(answer: string, sources: readonly string[] = ['toy']): Task {
  const problem = (i: number): Problem => ({
    id: `toy:${i}`,
    prompt: `pick ${'abcdef'.charAt(i % 6)}?`,
    answer,
    source: sources[i % sources.length] as string,
    language: 'en',
    meta: {},
  });
  return {
    id: 'toy',
    size: () => 6,
    sample: (rng) => problem(rng.int(0, 5)),
    fixed: (_split, n) => Array.from({ length: n }, (_, i) => problem(i)),
  };
}

/**
 * A base model that answers "pick a?" with one to three digits 2, 3 or 4, at random: reinforcement learning is to teach
 * it what to say.
 */
export async function pickBase(): Promise<{ tokenizer: Tokenizer; base: CausalModel }> {
  const tokenizer = await makeTokenizer(SMALL_CORPUS, { vocab_size: 280, digits: 'single' });
  let at = 0;
  const source = {
    next: () => {
      const rng = new Random(`toy ${at++}`);
      const digits = Array.from({ length: rng.int(1, 3) }, () => rng.int(2, 4)).join('');
      return { tokens: renderDocument(tokenizer, `pick ${rng.choice([...'abcdef'])}?`, digits) };
    },
    state: null,
    restore: () => {},
    close: () => {},
  };
  const base = tinyModel(71, { ...shape, vocab_size: tokenizer.vocab_size });
  const host = new TestHost();
  await pretrain(
    host,
    base,
    new Loader(source, (document) => document, { batch: 8, time: 48, overflow: 'fit' }),
    pretrainConfig.parse({
      steps: 60,
      save_every: 1000,
      optimizer: { kind: 'muon', learning_rate: 0.02, adamw_learning_rate: 0.01 },
      schedule: { kind: 'trapezoid' },
    }),
  );
  host.dispose();
  return { tokenizer, base };
}
