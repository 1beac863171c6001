import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  AdamW,
  cat,
  clipGradNorm,
  copyToDevice,
  type Device,
  full,
  getFloat32MatmulPrecision,
  gradNorm,
  noGrad,
  openSafetensors,
  scope,
  setFloat32MatmulPrecision,
  type Tensor,
  type TensorSource,
  tensor,
  tokenLogprobs,
  where,
} from '@dunwu/torch';
import type { CausalModel } from '../model/causal-model.js';
import { endOfTextIds, loadModel } from '../model/checkpoint.js';
import { isDeepseek } from '../model/config.js';
import { RolloutEngine } from '../rollout/engine.js';
import { errorText, UsageError } from '../util/errors.js';

/**
 * How far a model that we load is from what its reference computed, as stored beside the checkpoint in
 * `golden.safetensors`. A key is null where the fixture has nothing to compare with.
 */
export interface ParityReport {
  /** ‖ours − reference‖ / ‖reference‖ of the logits (attended positions only), by naive and by absorbed attention. */
  readonly logits: number | null;
  /** The largest relative error of any hidden state. */
  readonly hidden_max: number | null;
  /** Relative error of the loss. */
  readonly loss: number | null;
  /** The largest relative error of any parameter's gradient. */
  readonly grad_max: number | null;
  /** Every token goes to the same experts in every layer. */
  readonly router_equal: boolean | null;
  /** The greedy continuation is the same, token by token, recomputed in full and decoded with the latent cache. */
  readonly greedy_equal: boolean | null;
  /** The largest absolute difference of the losses over the AdamW steps. */
  readonly adamw5_max: number | null;
}

/** One comparison. `key` is the part of the report that it counts for; null is for information. */
export interface ParityPart {
  readonly name: string;
  readonly key: keyof ParityReport | null;
  /** Relative error; for `adamw5_max` the absolute difference; for choices 0 (equal) or 1. Always finite. */
  readonly error: number;
}

export interface ParityDetails extends ParityReport {
  readonly parts: readonly ParityPart[];
}

/** What a comparison is off by when a side is not a number: finite, so that JSON can hold it. */
const NOT_FINITE = Number.MAX_VALUE;

/**
 * Compares, for whatever the fixture holds, in float32 at the highest precision of matrix products, on a device.
 *
 * @throws UsageError when there is no such folder, no golden.safetensors in it, or nothing in that to compare with.
 * @throws Error naming the file and the tensor when checkpoint or fixture cannot be read or do not fit each other.
 */
export async function checkParity(folder: string, device: Device = 'cpu'): Promise<ParityDetails> {
  if (!(statSync(folder, { throwIfNoEntry: false })?.isDirectory() ?? false)) {
    throw new UsageError(`${folder}: there is no such folder; expected one with a checkpoint and golden.safetensors`);
  }
  const path = join(folder, 'golden.safetensors');
  if (!existsSync(path)) {
    throw new UsageError(`${path}: there is no fixture to compare with; docs/verify.md tells how to make one`);
  }
  const precision = getFloat32MatmulPrecision();
  setFloat32MatmulPrecision('highest');
  using golden = openSafetensors(path);
  const model = loadModel(folder, device);
  try {
    const check = new ParityCheck(folder, golden, model);
    for (const variant of ['full', 'padded']) scope(() => check.pass(variant));
    for (const name of golden.names) await check.greedy(name);
    check.training();
    return check.report();
  } finally {
    model.dispose();
    setFloat32MatmulPrecision(precision);
  }
}

class ParityCheck {
  readonly #golden: TensorSource;
  readonly #model: CausalModel;
  readonly #json: GoldenJson;
  readonly #parts: ParityPart[] = [];

  constructor(folder: string, golden: TensorSource, model: CausalModel) {
    this.#golden = golden;
    this.#model = model;
    this.#json = readGoldenJson(folder);
  }

  report(): ParityDetails {
    const worst = (key: keyof ParityReport): number | null => {
      const errors = this.#parts.flatMap((part) => (part.key === key ? [part.error] : []));
      return errors.length === 0 ? null : Math.max(...errors);
    };
    const equal = (key: keyof ParityReport): boolean | null => {
      const error = worst(key);
      return error === null ? null : error === 0;
    };
    if (this.#parts.every(({ key }) => key === null)) {
      const some = this.#golden.names.slice(0, 4).join(', ');
      throw new UsageError(
        `${this.#golden.path}: holds nothing that can be compared (${some || 'no tensors'}); docs/verify.md has the names`,
      );
    }
    return {
      logits: worst('logits'),
      hidden_max: worst('hidden_max'),
      loss: worst('loss'),
      grad_max: worst('grad_max'),
      router_equal: equal('router_equal'),
      greedy_equal: equal('greedy_equal'),
      adamw5_max: worst('adamw5_max'),
      parts: this.#parts,
    };
  }

  /** A forward and a backward pass, `full` or `padded`, and everything that the fixture has of it. */
  pass(variant: string): void {
    const golden = this.#golden;
    if (!golden.names.some((name) => name.startsWith(`${variant}.`))) return;
    const model = this.#model;
    const tokens = this.#tokens(variant);
    const [batch, time] = tokens.shape as [number, number];
    const given = (what: string): Tensor | undefined => {
      const name = `${variant}.${what}`;
      if (!golden.has(name)) return undefined;
      const value = this.#read(name);
      this.#sameShape(name, value, tokens);
      return value;
    };
    const attention = given('attention_mask');
    const labels = given('labels')?.to('int64') ?? tokens;
    const input = {
      tokens,
      positions: given('position_ids')?.to('int64'),
      mask: attention === undefined ? undefined : paddedMask(attention),
    };
    for (const { tensor: weight } of model.parameters()) weight.grad = null;
    const output = model.forward(input, { hiddenStates: true, paddingId: paddingId(model) });

    // What a model says at padding means nothing, there or here.
    const seen = attention?.reshape([-1]).nonzero().squeeze(1);
    const attended = (values: Tensor): Tensor => {
      const rows = values.detach().reshape([batch * time, -1]);
      return seen === undefined ? rows : rows.indexSelect(0, seen);
    };
    const compare = (name: string, key: ParityPart['key'], ours: () => Tensor): void => {
      if (golden.has(name)) this.#compare(name, key, ours(), attended);
    };

    const width = model.config.vocab_size;
    compare(`${variant}.logits`, 'logits', () => model.logits(output.hidden).view([batch, time, width]));
    if (golden.has(`${variant}.logits`) && isDeepseek(model.config)) {
      const absorbed = noGrad(() => model.logits(model.forward(input, { absorbed: true }).hidden));
      const reference = this.#read(`${variant}.logits`);
      const error = relativeError(attended(absorbed), attended(reference));
      this.#parts.push({ name: `${variant}.logits (absorbed attention)`, key: 'logits', error });
    }
    output.hiddenStates.forEach((state, i) => {
      compare(`${variant}.hidden.${i}`, 'hidden_max', () => state);
    });
    output.routers.forEach((router, i) => {
      const order = router.indices.argsort(-1);
      const name = `${variant}.router.${i}`;
      if (golden.has(`${name}.topk_idx_sorted`)) {
        const reference = this.#read(`${name}.topk_idx_sorted`);
        this.#sameShape(`${name}.topk_idx_sorted`, reference, router.indices);
        const equal = attended(router.indices.gather(1, order)).eq(attended(reference)).all().item() !== 0;
        this.#parts.push({ name: `${name}.topk_idx_sorted`, key: 'router_equal', error: equal ? 0 : 1 });
      }
      compare(`${name}.logits`, null, () => router.logits);
      compare(`${name}.topk_weights_sorted`, null, () => router.weights.gather(1, order));
    });
    this.#losses(variant, output.hidden, labels);
  }

  #losses(variant: string, hidden: Tensor, labels: Tensor): void {
    const golden = this.#golden;
    const model = this.#model;
    const prefix = `${variant}.grad.`;
    const wanted = golden.names.filter((name) => name.startsWith(prefix));
    if (!golden.has(`${variant}.loss`) && wanted.length === 0) return;
    const loss = shiftedLoss(model, hidden, labels);
    if (golden.has(`${variant}.loss`)) {
      const error = relativeError(loss.detach().view([1]), this.#read(`${variant}.loss`).view([1]));
      this.#parts.push({ name: `${variant}.loss`, key: 'loss', error });
    }
    if (wanted.length === 0) return;
    loss.backward();
    const ours = byName(model, (weight) => weight.grad);
    // A gradient that is zero but for rounding (the gate's when one expert takes all the weight, say) has nothing to
    // be relative to: it is measured against the gradient of the whole model then.
    const floor = gradNorm(trainable(model)) * FLOAT32_EPSILON;
    for (const name of wanted) {
      const reference = this.#read(name);
      const gradient = ours.get(name.slice(prefix.length));
      if (gradient !== undefined) this.#sameShape(name, reference, gradient);
      const error = gradient === undefined ? missing(reference) : relativeError(gradient, reference, floor);
      this.#parts.push({ name, key: 'grad_max', error });
    }
  }

  /** `greedy.prompt8_new16`: the prompt's 8 tokens and the 16 that follow, [batch, 24]. Other names are passed over. */
  async greedy(name: string): Promise<void> {
    const sizes = /^greedy\.prompt(\d+)_new(\d+)$/.exec(name);
    if (sizes === null) return;
    const [given, count] = [Number(sizes[1]), Number(sizes[2])];
    const shape = this.#golden.info(name).shape;
    if (shape.length !== 2 || shape[1] !== given + count || given < 1 || count < 1) {
      throw new Error(
        `${this.#golden.path}: ${name} has the shape [${shape}], its name says [batch, ${given + count}]`,
      );
    }
    const values = scope(() => this.#inVocabulary(name, this.#read(name)).numbers());
    const width = given + count;
    const rows = Array.from({ length: shape[0] as number }, (_, i) => values.slice(i * width, (i + 1) * width));
    // A reference that never ends its text was told not to (min_new_tokens); one that does is followed to its end.
    const ends = endOfTextIds(this.#model);
    const ended = rows.some((row) => row.slice(given).some((id) => ends.includes(id)));
    const expected = rows.map((row) => {
      const tail = row.slice(given);
      const end = tail.findIndex((id) => ends.includes(id));
      return ended && end >= 0 ? tail.slice(0, end + 1) : tail;
    });
    const banned = ended ? [] : ends;
    const note = (how: string, tails: readonly (readonly number[])[]): void => {
      const same = expected.every((tail, i) => tail.every((id, at) => tails[i]?.[at] === id));
      this.#parts.push({ name: `${name} (${how})`, key: 'greedy_equal', error: same ? 0 : 1 });
    };
    const prompts = rows.map((row) => row.slice(0, given));
    note('recomputed', greedyContinuation(this.#model, prompts, count, banned));
    note('latent cache', await this.#generated(prompts, { max_tokens: count, stop: ended ? ends : [], banned }));
  }

  #isFinite(tokens: readonly number[]): boolean {
    return scope(() =>
      noGrad(() => {
        const { device } = this.#model;
        const ids = tensor(BigInt64Array.from(tokens, BigInt), { shape: [1, tokens.length], device });
        return Number.isFinite(this.#model.forward({ tokens: ids }).hidden.sum().item());
      }),
    );
  }

  /** What the engine says greedily; nothing where the logits are no numbers, which is told elsewhere. */
  async #generated(
    prompts: readonly (readonly number[])[],
    { max_tokens, stop, banned }: { max_tokens: number; stop: readonly number[]; banned: readonly number[] },
  ): Promise<(readonly number[])[]> {
    if (!this.#isFinite(prompts[0] ?? [])) return prompts.map(() => []);
    const sampling = { temperature: 0, top_p: 1, top_k: 0, max_tokens };
    const asked = prompts.map((tokens, i) => ({ tokens, samples: 1, key: String(i) }));
    const samples = await new RolloutEngine(this.#model).generate(asked, { sampling, seed: 0, stop, banned });
    return samples.map(({ tokens }) => tokens);
  }

  /** The optimiser steps of golden.json's `adamw5`. They change the weights, so they come last. */
  training(): void {
    const recorded = this.#golden.has('adamw5.losses') ? this.#read('adamw5.losses').numbers() : undefined;
    const recipe = this.#json.training(recorded);
    if (recipe === null) return;
    const losses = scope(() => trainSteps(this.#model, this.#tokens('full'), recipe));
    losses.forEach((loss, i) => {
      const error = finite(Math.abs(loss - (recipe.losses[i] as number)));
      this.#parts.push({ name: `adamw5.losses[${i}]`, key: 'adamw5_max', error });
    });
    scope(() => {
      const ours = byName(this.#model, (weight) => weight.detach());
      for (const name of this.#golden.names.filter((entry) => entry.startsWith('adamw5.param.'))) {
        const weights = ours.get(name.slice('adamw5.param.'.length));
        if (weights !== undefined) this.#compare(name, null, weights, (values) => values);
        else this.#parts.push({ name, key: null, error: missing(this.#read(name)) });
      }
    });
  }

  #compare(name: string, key: ParityPart['key'], ours: Tensor, attended: (values: Tensor) => Tensor): void {
    const reference = this.#read(name);
    this.#sameShape(name, reference, ours);
    this.#parts.push({ name, key, error: relativeError(attended(ours), attended(reference)) });
  }

  /** On the model's device. */
  #read(name: string): Tensor {
    return copyToDevice(this.#golden.tensor(name), this.#model.device);
  }

  #tokens(variant: string): Tensor {
    const name = [`${variant}.input_ids`, 'input_ids'].find((candidate) => this.#golden.has(candidate));
    if (name !== undefined) return this.#inVocabulary(name, this.#read(name));
    const rows = this.#json.inputIds;
    if (rows === null) {
      throw new Error(`${this.#golden.path}: there is no input_ids, so nothing of ${variant}.* can be compared`);
    }
    const shape = [rows.length, rows[0]?.length ?? 0];
    const flat = tensor(BigInt64Array.from(rows.flat(), BigInt), { shape, device: this.#model.device });
    return this.#inVocabulary('input_ids of golden.json', flat);
  }

  #inVocabulary(name: string, ids: Tensor): Tensor {
    const wide = ids.to('int64');
    const { vocab_size } = this.#model.config;
    const [low, high] = scope(() => [wide.amin().item(), wide.amax().item()]) as [number, number];
    if (wide.shape.length !== 2 || low < 0 || high >= vocab_size) {
      throw new Error(
        `${this.#golden.path}: ${name} must be [batch, time] ids from 0 to ${vocab_size - 1} (vocab_size); ` +
          `it is [${wide.shape}] from ${low} to ${high}`,
      );
    }
    return wide;
  }

  #sameShape(name: string, reference: Tensor, ours: Tensor): void {
    if (String(reference.shape) === String(ours.shape)) return;
    throw new Error(
      `${this.#golden.path}: ${name} has the shape [${reference.shape}], the model of config.json gives [${ours.shape}]`,
    );
  }
}

const FLOAT32_EPSILON = 2 ** -23;
const finite = (error: number): number => (Number.isFinite(error) ? error : NOT_FINITE);
/** What the reference has and we have not is as wrong as can be, unless it is zero or empty. */
const missing = (reference: Tensor): number => (reference.abs().sum().item() === 0 ? 0 : 1);

/** ‖ours − reference‖ / ‖reference‖ in float64; absolute when the reference is zero. */
function relativeError(ours: Tensor, reference: Tensor, floor = 0): number {
  return scope(() => {
    const wide = reference.to('float64');
    const difference = ours.detach().to('float64').sub(wide).norm().item();
    const size = wide.norm().item();
    if (difference === 0) return 0;
    if (size < floor) return finite((difference * FLOAT32_EPSILON) / floor);
    return finite(size === 0 ? difference : difference / size);
  });
}

/** Mean cross-entropy of labels (−100 = none) against the tokens before them, as Hugging Face shifts them. */
function shiftedLoss(model: CausalModel, hidden: Tensor, labels: Tensor): Tensor {
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

/**
 * Causal, and nobody looks at padding. Closed is float32's lowest number, not −∞, as in the reference: a padded row,
 * which may look at nothing, then looks at everything alike, and a label right behind it gives the reference's loss.
 */
function paddedMask(attention: Tensor): Tensor {
  const [batch, time] = attention.shape as [number, number];
  const { device } = attention;
  const causal = full([time, time], 1, { device }).tril().to('bool');
  const open = causal.logicalAnd(attention.to('bool').unsqueeze(1)).unsqueeze(1);
  return full([batch, 1, time, time], 0, { device }).maskedFill(open.logicalNot(), -(2 - 2 ** -23) * 2 ** 127);
}

/** Greedy continuations by `count` tokens each, never choosing `banned` ids; recomputes everything, uses no cache. */
function greedyContinuation(
  model: CausalModel,
  prompts: readonly (readonly number[])[],
  count: number,
  banned: readonly number[],
): number[][] {
  const given = prompts[0]?.length ?? 0;
  const values = scope(() =>
    noGrad(() => {
      const { device } = model;
      let tokens = tensor(BigInt64Array.from(prompts.flat(), BigInt), { shape: [prompts.length, given], device });
      for (let i = 0; i < count; i++) {
        tokens = scope(() => {
          const [batch, time] = tokens.shape as [number, number];
          const { hidden } = model.forward({ tokens });
          const logits = model.logits(hidden.view([batch, time, -1]).select(1, time - 1));
          for (const id of banned) logits.narrow(1, id, 1).fill_(Number.NEGATIVE_INFINITY);
          return cat([tokens, logits.argmax(-1).unsqueeze(1)], 1);
        });
      }
      return tokens.numbers();
    }),
  );
  const width = given + count;
  return prompts.map((_, i) => values.slice(i * width + given, (i + 1) * width));
}

/** The reference's embedding gives its padding token no gradient (torch.nn.Embedding's padding_idx). */
function paddingId(model: CausalModel): number | undefined {
  const id = model.config.pad_token_id;
  return id === null || id === undefined || id < 0 ? undefined : id;
}

const trainable = (model: CausalModel): Tensor[] =>
  model.parameters().flatMap(({ kind, tensor: weight }) => (kind === 'buffer' ? [] : [weight]));

/** By the name in memory (experts in one) and by every name on disk (one by one). */
function byName(model: CausalModel, of: (weight: Tensor) => Tensor | null): Map<string, Tensor> {
  const found = new Map<string, Tensor>();
  for (const { name, tensor: weight, disk } of model.parameters()) {
    const value = of(weight);
    if (value === null) continue;
    found.set(name, value);
    for (const part of disk) found.set(part.name, part.view(value));
  }
  return found;
}

/** The fixture's few optimiser steps: what it recorded and how it was made. */
interface StoredTraining {
  readonly losses: readonly number[];
  readonly lr: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weight_decay: number;
  readonly clip: number;
}

interface GoldenJson {
  readonly inputIds: number[][] | null;
  /** The `adamw5` block, or null; losses given here come before those of the file. */
  training(losses?: readonly number[]): StoredTraining | null;
}

/** `golden.json` beside the tensors, which may be missing. */
function readGoldenJson(folder: string): GoldenJson {
  const path = join(folder, 'golden.json');
  let stored: { input_ids?: unknown; adamw5?: unknown } = {};
  if (existsSync(path)) {
    try {
      stored = (JSON.parse(readFileSync(path, 'utf8')) as typeof stored | null) ?? {};
    } catch (cause) {
      throw new Error(`${path}: not valid JSON: ${errorText(cause)}`, { cause });
    }
  }
  const numbers = (value: unknown): value is number[] =>
    Array.isArray(value) && value.length > 0 && value.every((entry) => typeof entry === 'number');
  const rows = stored.input_ids;
  const defaults = { lr: 1e-3, betas: [0.9, 0.999] as const, eps: 1e-8, weight_decay: 0.01, clip: 1 };
  return {
    inputIds: Array.isArray(rows) && rows.length > 0 && rows.every(numbers) ? rows : null,
    training(given) {
      const block = (stored.adamw5 ?? {}) as Partial<StoredTraining>;
      const losses = given ?? block.losses;
      if (losses === undefined) return null;
      const recipe = { ...defaults, ...block, losses };
      const { lr, betas, eps, weight_decay, clip } = recipe;
      if (!numbers(losses) || !numbers(betas) || !numbers([lr, eps, weight_decay, clip])) {
        throw new Error(`${path}: adamw5 must hold numbers: losses, lr, betas, eps, weight_decay, clip`);
      }
      return recipe;
    },
  };
}

/** Trains as the fixture did: AdamW with weight decay on everything, the gradient clipped, on the same batch. */
function trainSteps(model: CausalModel, tokens: Tensor, recipe: StoredTraining): number[] {
  const weights = trainable(model);
  for (const weight of weights) weight.grad = null;
  const { betas, eps, weight_decay: weightDecay } = recipe;
  using optimiser = new AdamW([{ params: weights, weightDecay }], { betas, eps });
  return recipe.losses.map(() =>
    scope(() => {
      optimiser.zeroGrad();
      const { hidden } = model.forward({ tokens }, { paddingId: paddingId(model) });
      const loss = shiftedLoss(model, hidden, tokens);
      loss.backward();
      clipGradNorm(weights, recipe.clip);
      optimiser.step(recipe.lr);
      return loss.item();
    }),
  );
}
