import { z } from 'zod';
import { GENERAL_FLAWS, generalSchema } from '../../task/general.js';
import { stageName } from './common.schema.js';

const fromTask = z.strictObject({
  /** Training problems of the general task, with good and bad responses. */
  task: generalSchema,
  /** Rows of them. */
  n: z.int().positive(),
  /** What is wrong with the bad ones; left out: everything that may be. */
  flaws: z.array(z.enum(GENERAL_FLAWS)).min(1).optional(),
});

const fromStage = z.strictObject({
  /** A `sample` stage: its scored responses, those that it did not keep too. */
  stage: stageName,
  /** The best must have so many points more than the worst; a tie makes no pair at any value. */
  min_gap: z.number().min(0).default(0),
});

const source = z.union([fromTask, fromStage], {
  error:
    'give { task, n } (good against flawed responses) or { stage } (best against worst samples of a `sample` stage)',
});

export const schema = z
  .strictObject({
    /**
     * `preference`: prompt, chosen, rejected. `safety`: prompt, response, and whether it is safe: where harm is asked for,
     * a response is safe when it refuses; any response is where none is.
     */
    rows: z.enum(['preference', 'safety']).default('preference'),
    /** Where they come from, one or several. */
    from: z.union([source, z.array(source).min(1)]).transform((from) => (Array.isArray(from) ? from : [from])),
    /**
     * What chosen and rejected must differ in. `final`: the answer part, for a reward model that reads it alone;
     * `whole`: anything. Of preference rows only.
     */
    differ: z.enum(['final', 'whole']).optional(),
    /** Share of the rows whose label is turned round: what raters get wrong. */
    flip_rate: z.number().min(0).max(1).default(0),
  })
  .superRefine(({ rows, from, differ }, context) => {
    if (rows !== 'safety') return;
    if (differ !== undefined) {
      context.addIssue({
        code: 'custom',
        path: ['differ'],
        message: 'is of preference rows: safety rows are no pairs',
      });
    }
    for (const [i, one] of from.entries()) {
      if ('min_gap' in one && one.min_gap > 0) {
        context.addIssue({
          code: 'custom',
          path: ['from', i, 'min_gap'],
          message: 'is of preference rows: safety rows are no pairs',
        });
      }
      if ('flaws' in one && one.flaws !== undefined) {
        context.addIssue({
          code: 'custom',
          path: ['from', i, 'flaws'],
          message: 'is of preference rows: an unsafe response is one that complies',
        });
      }
    }
  });

export type PreferencesStage = z.output<typeof schema>;
export type PreferenceSource = PreferencesStage['from'][number];

export const references = ({ from }: PreferencesStage): string[] =>
  from.flatMap((one) => ('stage' in one ? [one.stage] : []));
