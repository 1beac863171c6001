import { z } from 'zod';
import { packingSchema } from '../data/packing.js';
import { loraConfig } from '../model/lora-config.js';
import { optimizerSchema } from './optimizer-config.js';
import { balanceSchema } from './pretrain-config.js';
import { scheduleSchema } from './schedule.js';

/** Loss on rows that are kept out of training, every so many steps and after the last one. */
export const heldOutSchema = z.strictObject({
  every: z.int().positive(),
  /** Rows kept out: drawn by the seed before anything else. */
  rows: z.int().positive(),
});

/**
 * Fine-tuning data are few and alike: by default the experts' selection biases stay as pretraining left them
 * (DeepSeek-V3 stops them, too, for its last tokens: arXiv 2412.19437, section 4.2).
 */
export const tuningBalance = balanceSchema
  .extend({ bias_update_speed: z.number().nonnegative().default(0) })
  .prefault({});

/** What training on dialogue rows needs, whatever its loss. */
export const dialogueTrainingConfig = z.strictObject({
  /** Times the rows are gone through, in another order each time. One of `epochs` and `steps`. */
  epochs: z.int().positive().optional(),
  /** Steps; the rows are gone through as often as that takes. */
  steps: z.int().positive().optional(),
  /** Rows of a batch and the positions of each; dialogues are kept whole. */
  packing: packingSchema.pick({ batch: true, time: true, lookahead: true }),
  /** Forward and backward passes per step, their gradients added up. */
  gradient_accumulation: z.int().positive().default(1),
  /** What is learnt of a dialogue: the assistant's turns, its last turn only, or every token. */
  mask: z.enum(['assistant', 'last', 'all']).default('assistant'),
  /** How a dialogue is written: our own template, or `chat`, the one in the model's folder. */
  template: z.enum(['dunwu', 'chat']).default('dunwu'),
  optimizer: optimizerSchema,
  schedule: scheduleSchema.prefault({ kind: 'cosine' }),
  /** Largest gradient norm. */
  clip_grad: z.number().positive().default(1),
  balance: tuningBalance,
  validation: heldOutSchema.optional(),
  save_every: z.int().positive().default(100),
});

/** Exactly one of `epochs` and `steps`. */
export function checkLength(
  config: { epochs?: number | undefined; steps?: number | undefined },
  context: z.core.$RefinementCtx,
): void {
  const issue = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message });
  if (config.epochs === undefined && config.steps === undefined) issue('epochs', 'is missing: give epochs, or steps');
  if (config.epochs !== undefined && config.steps !== undefined)
    issue('steps', 'and epochs exclude each other: give one');
}

/** Supervised fine-tuning. */
export const sftConfig = dialogueTrainingConfig
  .extend({
    /** Train adapters (LoRA) in place of the weights. */
    lora: loraConfig.optional(),
  })
  .superRefine(checkLength)
  .superRefine(({ lora, balance }, context) => {
    if (lora === undefined || balance.bias_update_speed === 0) return;
    context.addIssue({
      code: 'custom',
      path: ['balance', 'bias_update_speed'],
      message: 'must be 0 with lora: it would move weights of the model that the adapters are put on',
    });
  });

export type DialogueTrainingConfig = z.output<typeof dialogueTrainingConfig>;
export type SftConfig = z.output<typeof sftConfig>;
