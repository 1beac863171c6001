import { z } from 'zod';
import { createGeneral, GENERAL_FLAWS, type GeneralFlaw, generalSchema } from '../task/general.js';
import type { Problem } from '../task/problem.js';
import { Random, type RandomState } from '../util/random.js';
import type { DialogueDocument, DocumentSource } from './document.js';

/** Small instructions with good and bad responses; unknown keys are errors. */
export const generalCorpusSchema = z.strictObject({
  type: z.literal('general'),
  /** Which instructions: the `general` task. */
  task: generalSchema.prefault({ type: 'general' }),
  /** Share of documents whose response is bad in one way. */
  flawed: z.number().min(0).max(1).default(0.5),
  /** Which ways; left out: all of them. Those that a prompt cannot have are passed over. */
  flaws: z
    .array(z.enum(GENERAL_FLAWS))
    .min(1)
    .default([...GENERAL_FLAWS]),
});

export type GeneralCorpusConfig = z.output<typeof generalCorpusSchema>;

export interface GeneralDocument extends DialogueDocument {
  readonly problem: Problem;
  /** Absent where the response is good. */
  readonly flaw?: GeneralFlaw;
}

/** Endless responses to the general task's *training* problems, good and bad. Equal seeds give equal documents. */
export function createGeneralCorpus(
  input: z.input<typeof generalCorpusSchema>,
  seed: number | string,
): DocumentSource<GeneralDocument> {
  const config = generalCorpusSchema.parse(input);
  const task = createGeneral(config.task);
  let rng = new Random(seed);
  return {
    next() {
      const problem = task.sample(rng, 'train');
      const question = problem.prompt;
      if (!rng.chance(config.flawed)) return { question, response: task.solve(problem), problem };
      return { question, ...task.flawed(problem, rng, config.flaws), problem };
    },
    get state() {
      return { random: rng.state };
    },
    restore(state) {
      rng = new Random(stateSchema.parse(state).random as RandomState);
    },
    close() {},
  };
}

const stateSchema = z.strictObject({ random: z.tuple([z.number(), z.number(), z.number(), z.number()]) });
