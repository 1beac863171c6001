import { tensor } from '@dunwu/torch';
import type { TokenDocument } from '../data/packing.js';
import type { CausalModel } from '../model/causal-model.js';
import { distillationLoss } from '../objective/distillation.js';
import type { DistillFromRowsConfig } from './distill-config.js';
import { type TrainingSummary, trainPacked } from './packed-training.js';
import { countedPlaces, dialogueBatches, heldOutLoss, type SftHost } from './sft.js';
import { logitsAt, type Teacher } from './teacher.js';

/**
 * Distillation from rows: at every token that the mask counts, the student's distribution is moved towards the
 * teacher's. The student is changed in place.
 *
 * Metrics: those of fine-tuning, and those of the distillation loss (`divergence`, `agreement`, …); `validation_loss` is
 * the next-token loss on held-out rows.
 *
 * @param vocabulary tokens that both models have
 */
export async function distillFromRows(
  host: SftHost,
  student: CausalModel,
  teacher: Teacher,
  rows: readonly TokenDocument[],
  config: DistillFromRowsConfig,
  vocabulary: number,
): Promise<TrainingSummary> {
  const data = dialogueBatches(rows, config, host.seed);
  return trainPacked(
    host,
    student,
    data.loader,
    { ...config, steps: data.steps },
    {
      label: 'distill',
      data: 'rows',
      lastMayBeShort: true,
      objective: ({ batch, rows: on, hidden, targetsInBatch }) => {
        const places = countedPlaces(batch, student.device);
        return distillationLoss(
          {
            logits: logitsAt(student, hidden, places, vocabulary),
            teacher: teacher.targets(batch, on, places),
            targets: on.targets.indexSelect(0, places),
            weights: tensor(batch.lossMask, { device: student.device }).indexSelect(0, places),
            targetsInBatch,
          },
          config.loss,
        );
      },
      extraFlops: (batch) => teacher.flops(batch),
      measure: (n) => ({ ...data.progress(), ...heldOutLoss(student, data, config, n) }),
    },
  );
}
