import { cat, op, scope, type Tensor } from '@dunwu/torch';
import { z } from 'zod';
import type { Metric, Metrics, Objective } from './metrics.js';

/**
 * How far a student's next-token distribution Q is from its teacher's P, token by token (knowledge distillation:
 * Hinton et al. 2015, arXiv 1503.02531; on the student's own samples: GKD, arXiv 2306.13649).
 *
 * | kind    | per token                                        | what it asks of the student                    |
 * |---------|--------------------------------------------------|------------------------------------------------|
 * | forward | KL(P ‖ Q) = Σ P (log P − log Q)                  | cover all that the teacher holds possible      |
 * | reverse | KL(Q ‖ P) = Σ Q (log Q − log P)                  | say nothing that the teacher would not say     |
 * | jsd     | β KL(P ‖ M) + (1−β) KL(Q ‖ M), M = βP + (1−β)Q   | in between (GKD, eq. 1): β towards 0 is like    |
 * |         |                                                  | forward, towards 1 like reverse; bounded       |
 */
export const divergenceSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('forward') }),
  z.strictObject({ kind: z.literal('reverse') }),
  z.strictObject({ kind: z.literal('jsd'), beta: z.number().gt(0).lt(1).default(0.5) }),
]);

export type Divergence = z.output<typeof divergenceSchema>;

export const distillationSchema = z
  .strictObject({
    divergence: divergenceSchema.default({ kind: 'forward' }),
    /** T: both models' logits are divided by it. */
    temperature: z.number().positive().default(1),
    /**
     * A loss at temperature T has gradients about T² times smaller. `squared` multiplies it by T² (Hinton et al.,
     * section 2), so that changing T does not change the learning rate; `none` leaves it.
     */
    temperature_scale: z.enum(['squared', 'none']).default('squared'),
    /** Only the teacher's k likeliest tokens of each place are looked at; without it the whole vocabulary. */
    top_k: z.int().positive().optional(),
    /**
     * What becomes of the other tokens. `bucket` (default): they are one more token with the probability of all of them,
     * so the student is held to how much the teacher leaves open; never above the divergence over the whole vocabulary.
     * `renormalise`: both models' probabilities of the k tokens are made to sum to 1, and what the student does outside
     * of them is free.
     */
    tail: z.enum(['bucket', 'renormalise']).optional(),
    /** w: share of the loss that is next-token loss on the rows themselves: (1 − w) · divergence + w · that. */
    hard_weight: z.number().min(0).max(1).default(0),
  })
  .superRefine(({ top_k, tail }, context) => {
    if (tail !== undefined && top_k === undefined) {
      context.addIssue({ code: 'custom', path: ['tail'], message: 'would be ignored: without top_k there is no tail' });
    }
  });

export type DistillationConfig = z.output<typeof distillationSchema>;

/** A teacher's distribution at N places, at the temperature of the loss; no gradient. */
export interface TeacherTargets {
  /** Log-probabilities in the whole vocabulary: [N, V], or of the k likeliest tokens [N, k], the likeliest first. */
  readonly logprobs: Tensor;
  /** int64 [N, k]: which tokens these are; null for the whole vocabulary. */
  readonly indices: Tensor | null;
  /** [N]: log-probability of all other tokens together; null when there are none. */
  readonly tail: Tensor | null;
}

/** What a teacher's logits [N, V] say, over the whole vocabulary or the k likeliest tokens (all V when k is above). */
export function teacherTargets(logits: Tensor, temperature: number, topK?: number): TeacherTargets {
  return scope(() => {
    const scaled = logits.detach().div(temperature);
    if (topK === undefined) return { logprobs: scaled.logSoftmax(-1), indices: null, tail: null };
    const vocabulary = logits.size(1);
    const total = scaled.logsumexp(-1, true);
    const [values, indices] = scaled.topk(Math.min(topK, vocabulary));
    const tail = topK >= vocabulary ? null : tailLogprob(scaled, indices, total);
    return { logprobs: values.sub(total), indices, tail };
  });
}

/** log of what all but the `indices` [N, k] of `scaled` logits [N, V] share; exact, where 1 − Σ would be rounding. */
function tailLogprob(scaled: Tensor, indices: Tensor, total: Tensor): Tensor {
  return scaled.scatterValue(1, indices, Number.NEGATIVE_INFINITY).logsumexp(-1).sub(total.squeeze(-1));
}

/**
 * The divergence of two distributions over the last dimension.
 * @param teacher log P [N, K], no gradient; `student` log Q [N, K]; each sums to 1
 * @returns [N] in nats
 */
export function divergencePerToken(teacher: Tensor, student: Tensor, divergence: Divergence): Tensor {
  const kl = (p: Tensor, q: Tensor): Tensor => p.exp().mul(p.sub(q)).sum(-1);
  switch (divergence.kind) {
    case 'forward':
      return kl(teacher, student);
    case 'reverse':
      return kl(student, teacher);
    case 'jsd': {
      const { beta } = divergence;
      const mixture = op('aten::logaddexp')(teacher.add(Math.log(beta)), student.add(Math.log(1 - beta))) as Tensor;
      return kl(teacher, mixture)
        .mul(beta)
        .add(kl(student, mixture).mul(1 - beta));
    }
  }
}

export interface DistillationInputs {
  /** [N, V], with gradient: the student's logits at the places that are learnt from. */
  readonly logits: Tensor;
  readonly teacher: TeacherTargets;
  /** int64 [N]: the tokens that stand there, for `hard_weight`. */
  readonly targets: Tensor;
  /** [N]: loss weight of each place. */
  readonly weights: Tensor;
  /** Σ weights over all micro-batches of the step. */
  readonly targetsInBatch: number;
}

/**
 * The distillation loss: the mean over the places of (1 − w) · s · D(P, Q) + w · (−log Q₁(token)), with s = T² or 1 and
 * Q₁ the student at temperature 1. Holds a few tensors of the logits' size [N, V].
 *
 * Metrics, means over the places: `divergence` in nats (not scaled), `agreement` (share where both models find the same
 * token likeliest), with top_k `teacher_mass` (what the teacher gives to the k tokens), with hard_weight `hard_loss`.
 *
 * @throws Error when shapes do not fit.
 */
export function distillationLoss(inputs: DistillationInputs, config: DistillationConfig): Objective {
  const { logits, teacher, targets, weights, targetsInBatch } = inputs;
  const places = logits.size(0);
  for (const [name, tensor] of Object.entries({ targets, weights, 'teacher.logprobs': teacher.logprobs })) {
    if (tensor.size(0) !== places) throw new Error(`distillation: logits are ${logits}, ${name} ${tensor}`);
  }
  if (teacher.indices === null && teacher.logprobs.size(1) !== logits.size(1)) {
    throw new Error(`distillation: the student has ${logits.size(1)} tokens, the teacher ${teacher.logprobs.size(1)}`);
  }
  return scope(() => {
    const scaled = logits.div(config.temperature);
    const [p, q] = compared(scaled, teacher, config.tail ?? 'bucket');
    const divergence = divergencePerToken(p, q, config.divergence);
    const scale = config.temperature_scale === 'squared' ? config.temperature ** 2 : 1;
    const count = weights.sum();
    const mean = (perToken: Tensor): Metric => ({ kind: 'mean', sum: perToken.detach().mul(weights).sum(), count });
    const likeliest =
      teacher.indices === null ? teacher.logprobs.argmax(-1) : teacher.indices.narrow(1, 0, 1).squeeze(-1);
    let perToken = divergence.mul(scale);
    const metrics: Record<string, Metric> = {
      divergence: mean(divergence),
      agreement: mean(logits.detach().argmax(-1).eq(likeliest).to('float32')),
    };
    if (teacher.tail !== null) metrics.teacher_mass = mean(teacher.tail.exp().neg().add(1));
    if (config.hard_weight > 0) {
      const own = logits.gather(1, targets.unsqueeze(1)).squeeze(-1).sub(logits.logsumexp(-1)).neg();
      metrics.hard_loss = mean(own);
      perToken = perToken.mul(1 - config.hard_weight).add(own.mul(config.hard_weight));
    }
    const loss = perToken.mul(weights).sum().div(targetsInBatch);
    return { loss, metrics: metrics satisfies Metrics };
  });
}

/** Both models' log-probabilities over the same events. @param scaled the student's logits, divided by T */
function compared(scaled: Tensor, teacher: TeacherTargets, tail: 'bucket' | 'renormalise'): [Tensor, Tensor] {
  if (teacher.indices === null) return [teacher.logprobs, scaled.logSoftmax(-1)];
  const chosen = scaled.gather(1, teacher.indices);
  if (tail === 'renormalise') return [teacher.logprobs.logSoftmax(-1), chosen.logSoftmax(-1)];
  const total = scaled.logsumexp(-1, true);
  if (teacher.tail === null) return [teacher.logprobs, chosen.sub(total)];
  return [
    cat([teacher.logprobs, teacher.tail.unsqueeze(1)], 1),
    cat([chosen.sub(total), tailLogprob(scaled, teacher.indices, total).unsqueeze(1)], 1),
  ];
}
