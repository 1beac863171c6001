import { noGrad, scope, type Tensor } from '@dunwu/torch';
import type { PackedBatch } from '../data/packing.js';
import type { CausalModel, ModelInput } from '../model/causal-model.js';
import { type TeacherTargets, teacherTargets } from '../objective/distillation.js';
import { countFlops } from './flops.js';

/** Where the teacher's distributions on packed rows come from. */
export interface Teacher {
  /**
   * @param rows the batch as tensors
   * @param places int64 [N]: flat positions in [batch · time]
   */
  targets(batch: PackedBatch, rows: ModelInput, places: Tensor): TeacherTargets;
  /** FLOPs that this costs. */
  flops(batch: PackedBatch): number;
}

/**
 * Logits [N, V] at some places. Heads may have rows beyond the tokenizer's tokens, to fill them up; models are compared
 * on the first `vocabulary` of them.
 */
export function logitsAt(model: CausalModel, hidden: Tensor, places: Tensor, vocabulary: number): Tensor {
  const head = model.headWeight.narrow(0, 0, vocabulary);
  return hidden.indexSelect(0, places).to(head.dtype).linear(head).to('float32');
}

/** A teacher's distributions at places of a batch; no gradient. */
export function targetsOf(
  teacher: CausalModel,
  rows: ModelInput,
  places: Tensor,
  options: { readonly temperature: number; readonly topK?: number | undefined; readonly vocabulary: number },
): TeacherTargets {
  return scope(() =>
    noGrad(() => {
      const { hidden } = teacher.forward(rows);
      return teacherTargets(logitsAt(teacher, hidden, places, options.vocabulary), options.temperature, options.topK);
    }),
  );
}

/** The teacher itself, asked anew for every batch. */
export function liveTeacher(model: CausalModel, options: Parameters<typeof targetsOf>[3]): Teacher {
  const flops = countFlops(model.config);
  return {
    targets: (_, rows, places) => targetsOf(model, rows, places, options),
    flops: (batch) => batch.tokenCount * flops.forward(batch.time / 2),
  };
}
