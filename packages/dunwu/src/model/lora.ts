import type { CausalModel } from './causal-model.js';
import type { Linear } from './linear.js';
import { type LoraConfig, loraScale } from './lora-config.js';
import { allTargets, chosenTargets } from './lora-targets.js';
import { filled, uniform, weightsOn } from './parameter.js';

/**
 * Low-rank adapters on a model (LoRA: Hu et al. 2021, arXiv 2106.09685, §4.1): h = W₀ x + (α/r) B A x, W₀ frozen. A is
 * drawn as PEFT draws it, kaiming_uniform with a = √5, which is U(−1/√inputs, 1/√inputs); B is 0, so that nothing changes
 * at first. A comes from the default generator: seed it first. From here on `model.trained()` is A and B alone.
 *
 * @throws Error when the model has adapters, or a target names nothing that can have one.
 */
export function addAdapters(model: CausalModel, config: LoraConfig): void {
  requireNone(model);
  using _ = weightsOn(model.device);
  const chosen = chosenTargets(allTargets(model.linears()), config.target_modules);
  const scale = loraScale(config);
  for (const { linear } of model.linears()) {
    const parts = chosen.filter((target) => target.linear === linear).map(({ part }) => part);
    const bound = 1 / Math.sqrt(linear.weight.size(1));
    linear.setAdapters(
      parts.map((part) => ({
        part,
        a: uniform([config.rank, linear.weight.size(1)], bound),
        b: filled([part.length, config.rank], 0),
        scale,
      })),
    );
  }
  model.lora = config;
  model.setTrainable(true);
}

/** @throws Error when the model has adapters already: one set at a time. */
export function requireNone(model: CausalModel): void {
  if (model.lora !== null) throw new Error('the model has adapters already; merge them first (absorbAdapters)');
}

/** Runs `body` with the adapters off: the model is the one that they were put on. */
export function withoutAdapters<T>(model: CausalModel, body: () => T): T {
  const linears = adapted(model).filter(({ on }) => on);
  for (const linear of linears) linear.on = false;
  try {
    return body();
  } finally {
    for (const linear of linears) linear.on = true;
  }
}

/** What a policy is compared with: a model's forward pass and its head. */
export type ReferenceModel = Pick<CausalModel, 'forward' | 'headWeight'>;

/** The model that the adapters were put on, by the same weights: no copy. */
export function withAdaptersOff(model: CausalModel): ReferenceModel {
  return {
    forward: (input, options) => withoutAdapters(model, () => model.forward(input, options)),
    headWeight: model.headWeight,
  };
}

/** Puts the adapters into the weights, W₀ + (α/r) B A; what was there is kept beside until {@link unmergeAdapters}. */
export function mergeAdapters(model: CausalModel): void {
  for (const linear of adapted(model)) linear.merge();
}

/** Takes merged adapters out again: the weights are bit for bit what they were. */
export function unmergeAdapters(model: CausalModel): void {
  for (const linear of adapted(model)) linear.unmerge();
}

/** Puts the adapters into the weights for good: an ordinary model, all of which is trained. */
export function absorbAdapters(model: CausalModel): void {
  for (const linear of adapted(model)) linear.absorbAdapters();
  model.lora = null;
  model.setTrainable(true);
}

/** Projections that have adapters. */
function adapted(model: CausalModel): Linear[] {
  return model.linears().flatMap(({ linear }) => (linear.adapters.length > 0 ? [linear] : []));
}
