import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  AdamW,
  cat,
  clipGradNorm,
  full,
  noGrad,
  openSafetensors,
  scope,
  type Tensor,
  tokenLogprobs,
  where,
  zeros,
} from '@dunwu/torch';
import { loadModel } from '../model/checkpoint.js';
import type { DeepseekModel } from '../model/deepseek.js';

/**
 * How far a model that we load is from what its reference computed, as stored beside the checkpoint in
 * `golden.safetensors`. A key is null where the fixture has nothing to compare with.
 */
export interface ParityReport {
  /** ‖ours − reference‖ / ‖reference‖ of the logits (attended positions only). */
  readonly logits: number | null;
  /** The largest relative error of any hidden state. */
  readonly hidden_max: number | null;
  /** Relative error of the loss. */
  readonly loss: number | null;
  /** The largest relative error of any parameter's gradient. */
  readonly grad_max: number | null;
  /** Every token goes to the same experts in every layer. */
  readonly router_equal: boolean | null;
  /** The greedy continuation is the same, token by token. */
  readonly greedy_equal: boolean | null;
  /** The largest absolute difference of the losses over the AdamW steps. */
  readonly adamw5_max: number | null;
}

export interface ParityDetails extends ParityReport {
  /** Every single comparison: what was compared and its relative error. */
  readonly parts: readonly { readonly name: string; readonly error: number }[];
}

function relativeError(ours: Tensor, reference: Tensor): number {
  return scope(() => {
    const wide = reference.to('float64');
    const difference = ours.detach().to('float64').sub(wide).norm().item();
    const size = wide.norm().item();
    return size === 0 ? difference : difference / size;
  });
}

/** Mean cross-entropy of labels (−100 = none) against the tokens before them, as Hugging Face shifts them. */
function shiftedLoss(model: DeepseekModel, hidden: Tensor, labels: Tensor): Tensor {
  const [batch, time] = labels.shape as [number, number];
  const width = model.config.hidden_size;
  const before = hidden
    .view([batch, time, width])
    .narrow(1, 0, time - 1)
    .reshape([-1, width]);
  const targets = labels.narrow(1, 1, time - 1).reshape([-1]);
  const wanted = targets.ge(0);
  const [logprobs] = tokenLogprobs(before, model.headWeight, where(wanted, targets, 0).to('int64'));
  return logprobs.mul(wanted.to('float32')).sum().div(wanted.to('float32').sum()).neg();
}

/** Causal, and nobody looks at padding. A padded row may look at itself only: its softmax must not be empty. */
function paddedMask(attention: Tensor): Tensor {
  const [batch, time] = attention.shape as [number, number];
  const causal = full([time, time], 1).tril().to('bool');
  const seen = causal.logicalAnd(attention.to('bool').unsqueeze(1));
  const own = full([time, time], 1).tril().triu().to('bool');
  const open = seen.logicalOr(own).unsqueeze(1);
  return zeros([batch, 1, time, time]).maskedFill(open.logicalNot(), Number.NEGATIVE_INFINITY);
}

/** Greedy continuation of [batch, prompt] by `count` tokens, never choosing `banned` ids; recomputes, uses no cache. */
export function greedyContinuation(
  model: DeepseekModel,
  prompt: Tensor,
  count: number,
  banned: readonly number[],
): Tensor {
  return scope(() =>
    noGrad(() => {
      let tokens = prompt;
      for (let i = 0; i < count; i++) {
        tokens = scope(() => {
          const [batch, time] = tokens.shape as [number, number];
          const { hidden } = model.forward({ tokens });
          const last = hidden.view([batch, time, -1]).select(1, time - 1);
          const logits = model.logits(last);
          for (const id of banned) logits.narrow(1, id, 1).fill_(Number.NEGATIVE_INFINITY);
          return cat([tokens, logits.argmax(-1).unsqueeze(1)], 1);
        });
      }
      return tokens;
    }),
  );
}

/** Compares, for whatever the fixture holds. @throws Error when the folder has no golden.safetensors. */
export function checkParity(folder: string): ParityDetails {
  const path = join(folder, 'golden.safetensors');
  if (!existsSync(path)) {
    throw new Error(`${path}: there is no fixture to compare with; see docs/verify.md for its layout`);
  }
  using golden = openSafetensors(path);
  const model = loadModel(folder);
  const parts: { name: string; error: number }[] = [];
  const note = (name: string, error: number): number => {
    parts.push({ name, error });
    return error;
  };
  const worst = (errors: number[]): number | null => (errors.length === 0 ? null : Math.max(...errors));
  const read = (name: string): Tensor => golden.tensor(name);
  const logits: number[] = [];
  const hidden: number[] = [];
  const losses: number[] = [];
  const gradients: number[] = [];
  let routerEqual: boolean | null = null;

  for (const variant of ['full', 'padded'] as const) {
    if (!golden.names.some((name) => name.startsWith(`${variant}.`))) continue;
    scope(() => {
      const tokens = read('input_ids').to('int64');
      const attention = golden.has(`${variant}.attention_mask`) ? read(`${variant}.attention_mask`) : null;
      const labels = golden.has(`${variant}.labels`) ? read(`${variant}.labels`).to('int64') : tokens;
      const mask = attention === null ? undefined : paddedMask(attention);
      for (const { tensor: weight } of model.parameters()) weight.grad = null;
      const output = model.forward({ tokens, mask }, { hiddenStates: true });
      // What a model says at padding means nothing, there or here.
      const attended = (values: Tensor): Tensor =>
        attention === null ? values : values.detach().mul(attention.to(values.dtype).unsqueeze(-1));
      if (golden.has(`${variant}.logits`)) {
        const reference = read(`${variant}.logits`);
        const ours = model.logits(output.hidden).view(reference.shape);
        logits.push(note(`${variant}.logits`, relativeError(attended(ours), attended(reference))));
      }
      output.hiddenStates.forEach((state, i) => {
        const name = `${variant}.hidden.${i}`;
        if (golden.has(name)) hidden.push(note(name, relativeError(attended(state), attended(read(name)))));
      });
      output.routers.forEach((router, i) => {
        const name = `${variant}.router.${i}`;
        if (golden.has(`${name}.topk_idx_sorted`)) {
          const ours = router.indices.sort(-1)[0];
          const same =
            ours
              .eq(read(`${name}.topk_idx_sorted`))
              .all()
              .item() !== 0;
          routerEqual = (routerEqual ?? true) && same;
          note(`${name}.topk_idx_sorted`, same ? 0 : 1);
        }
        if (golden.has(`${name}.logits`)) note(`${name}.logits`, relativeError(router.logits, read(`${name}.logits`)));
        if (golden.has(`${name}.topk_weights_sorted`)) {
          const order = router.indices.argsort(-1);
          const ours = router.weights.gather(1, order);
          note(`${name}.topk_weights_sorted`, relativeError(ours, read(`${name}.topk_weights_sorted`)));
        }
      });
      const loss = shiftedLoss(model, output.hidden, labels);
      if (golden.has(`${variant}.loss`)) {
        losses.push(note(`${variant}.loss`, relativeError(loss.view([1]), read(`${variant}.loss`).view([1]))));
      }
      const prefix = `${variant}.grad.`;
      const wanted = golden.names.filter((name) => name.startsWith(prefix));
      if (wanted.length > 0) {
        loss.backward();
        const ours = gradientsByName(model);
        for (const name of wanted) {
          const gradient = ours.get(name.slice(prefix.length));
          // A gradient the reference has and we have not is as wrong as can be.
          gradients.push(note(name, gradient === undefined ? 1 : relativeError(gradient, read(name))));
        }
      }
    });
  }

  let greedyEqual: boolean | null = null;
  for (const name of golden.names.filter((entry) => entry.startsWith('greedy.prompt'))) {
    const sizes = /^greedy\.prompt(\d+)_new(\d+)$/.exec(name);
    if (sizes === null) continue;
    const same = scope(() => {
      const reference = read(name).to('int64');
      const prompt = reference.narrow(1, 0, Number(sizes[1]));
      const ours = greedyContinuation(model, prompt, Number(sizes[2]), endIds(model));
      return ours.eq(reference).all().item() !== 0;
    });
    greedyEqual = (greedyEqual ?? true) && same;
    note(name, same ? 0 : 1);
  }

  const adamw = storedTraining(folder, golden.has('adamw5.losses') ? read('adamw5.losses').numbers() : null);
  let adamwMax: number | null = null;
  if (adamw !== null) {
    const ours = trainSteps(model, read('input_ids').to('int64'), adamw);
    adamwMax = Math.max(...ours.map((loss, i) => Math.abs(loss - (adamw.losses[i] as number))));
    for (const name of golden.names.filter((entry) => entry.startsWith('adamw5.param.'))) {
      const weights = weightsByName(model).get(name.slice('adamw5.param.'.length));
      note(name, weights === undefined ? 1 : relativeError(weights, read(name)));
    }
  }
  model.dispose();
  return {
    logits: worst(logits),
    hidden_max: worst(hidden),
    loss: worst(losses),
    grad_max: worst(gradients),
    router_equal: routerEqual,
    greedy_equal: greedyEqual,
    adamw5_max: adamwMax,
    parts,
  };
}

function endIds(model: DeepseekModel): number[] {
  const ids = model.config.eos_token_id;
  return ids === undefined || ids === null ? [] : Array.isArray(ids) ? ids : [ids];
}

function byName(model: DeepseekModel, of: (tensor: Tensor) => Tensor | null): Map<string, Tensor> {
  const found = new Map<string, Tensor>();
  for (const { name, tensor: weight, disk } of model.parameters()) {
    const value = of(weight);
    if (value === null) continue;
    found.set(name, value);
    for (const part of disk) found.set(part.name, part.view(value));
  }
  return found;
}

const gradientsByName = (model: DeepseekModel): Map<string, Tensor> => byName(model, (weight) => weight.grad);
const weightsByName = (model: DeepseekModel): Map<string, Tensor> => byName(model, (weight) => weight.detach());

/** The fixture's few optimiser steps: what it recorded and how it was made. */
interface StoredTraining {
  readonly losses: readonly number[];
  readonly lr: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weight_decay: number;
  readonly clip: number;
}

/** The `adamw5` block of golden.json, the losses from there or from the tensors. */
function storedTraining(folder: string, losses: readonly number[] | null): StoredTraining | null {
  const path = join(folder, 'golden.json');
  const defaults = { lr: 1e-3, betas: [0.9, 0.999] as const, eps: 1e-8, weight_decay: 0.01, clip: 1 };
  let stored: Partial<StoredTraining> = {};
  if (existsSync(path)) {
    try {
      stored = (JSON.parse(readFileSync(path, 'utf8')) as { adamw5?: Partial<StoredTraining> }).adamw5 ?? {};
    } catch (cause) {
      throw new Error(`${path}: not valid JSON: ${(cause as Error).message}`, { cause });
    }
  }
  const recorded = losses ?? stored.losses;
  return recorded === undefined ? null : { ...defaults, ...stored, losses: recorded };
}

/** Trains as the fixture did: AdamW with weight decay on everything, the gradient clipped, on the same batch. */
function trainSteps(model: DeepseekModel, tokens: Tensor, recipe: StoredTraining): number[] {
  const weights = model.parameters().flatMap((entry) => (entry.kind === 'buffer' ? [] : [entry.tensor]));
  for (const weight of weights) weight.grad = null;
  const { betas, eps, weight_decay: weightDecay } = recipe;
  using optimiser = new AdamW([{ params: weights, weightDecay }], { betas, eps });
  return recipe.losses.map(() =>
    scope(() => {
      optimiser.zeroGrad();
      const loss = shiftedLoss(model, model.forward({ tokens }).hidden, tokens);
      loss.backward();
      clipGradNorm(weights, recipe.clip);
      optimiser.step(recipe.lr);
      return loss.item();
    }),
  );
}
