import { defineKind, type StageKind } from './stage.js';

/**
 * The stages that a recipe may have. Adding one: `stages/x.schema.ts` exports `schema` (and `references`),
 * `stages/x.ts` exports `run`, and here goes
 *
 *     defineKind({ kind: 'x', summary: '…', spec: () => import('./stages/x.schema.js'), work: () => import('./stages/x.js') })
 */
export const kinds: readonly StageKind[] = [
  defineKind({
    kind: 'tokenizer',
    summary: 'learn a byte-level BPE vocabulary from a corpus',
    spec: () => import('./stages/tokenizer.schema.js'),
    work: () => import('./stages/tokenizer.js'),
  }),
  defineKind({
    kind: 'checkpoint',
    summary: 'a model that is there already',
    spec: () => import('./stages/checkpoint.schema.js'),
    work: () => import('./stages/checkpoint.js'),
  }),
  defineKind({
    kind: 'pretrain',
    summary: 'train a base model from nothing on a corpus',
    spec: () => import('./stages/pretrain.schema.js'),
    work: () => import('./stages/pretrain.js'),
  }),
  defineKind({
    kind: 'eval',
    summary: 'measure a model on held-out problems',
    spec: () => import('./stages/eval.schema.js'),
    work: () => import('./stages/eval.js'),
  }),
  defineKind({
    kind: 'grpo',
    summary: 'reinforcement learning with rule rewards and group-relative advantages',
    spec: () => import('./stages/grpo.schema.js'),
    work: () => import('./stages/grpo.js'),
  }),
  defineKind({
    kind: 'sft',
    summary: 'supervised fine-tuning on dialogues',
    spec: () => import('./stages/sft.schema.js'),
    work: () => import('./stages/sft.js'),
  }),
  defineKind({
    kind: 'distill',
    summary: 'train a new, smaller model on what a teacher provides',
    spec: () => import('./stages/distill.schema.js'),
    work: () => import('./stages/distill.js'),
  }),
  defineKind({
    kind: 'sample',
    summary: 'draw responses from a model and keep those that pass the rules',
    spec: () => import('./stages/sample.schema.js'),
    work: () => import('./stages/sample.js'),
  }),
  defineKind({
    kind: 'preferences',
    summary: 'make preference pairs or safety labels by rules',
    spec: () => import('./stages/preferences.schema.js'),
    work: () => import('./stages/preferences.js'),
  }),
  defineKind({
    kind: 'reward-model',
    summary: 'learn a reward model from preference pairs or safety labels',
    spec: () => import('./stages/reward-model.schema.js'),
    work: () => import('./stages/reward-model.js'),
  }),
  defineKind({
    kind: 'ppo',
    summary: 'RLHF: reinforcement learning against a reward model, with a value function',
    spec: () => import('./stages/ppo.schema.js'),
    work: () => import('./stages/ppo.js'),
  }),
  defineKind({
    kind: 'dpo',
    summary: 'learn from preference pairs directly, without a reward model',
    spec: () => import('./stages/dpo.schema.js'),
    work: () => import('./stages/dpo.js'),
  }),
];

/** The recipe's `task` block. */
export { taskSchema } from '../task/registry.js';
