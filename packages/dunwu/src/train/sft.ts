import { type Device, noGrad, readNumbers, scope, type Tensor, tensor, tokenLogprobs } from '@dunwu/torch';
import { Loader } from '../data/loader.js';
import { type PackedBatch, Packer, type TokenDocument } from '../data/packing.js';
import { ShuffledRows } from '../data/shuffled-rows.js';
import type { CausalModel } from '../model/causal-model.js';
import { addAdapters } from '../model/lora.js';
import { languageModelLoss } from '../objective/language-model.js';
import { Random } from '../util/random.js';
import type { LoopHost } from './loop.js';
import { packedTensors } from './packed.js';
import { type PackedStep, type TrainingSummary, trainPacked } from './packed-training.js';
import type { DialogueTrainingConfig, SftConfig } from './sft-config.js';

/** A host that also tells the stage's seed. */
export interface SftHost extends LoopHost {
  readonly seed: number;
}

/**
 * Supervised fine-tuning: next-token loss on what the mask counts, usually the assistant's tokens with their EOS.
 * Every row keeps to itself in a packed batch: the numbers are those of rows computed one by one. The model is changed
 * in place; with `lora` it has adapters afterwards, beside weights that are as they were.
 *
 * Metrics: those of pretraining, `epoch` (times gone through, with its fraction) and, where rows are held out,
 * `validation_loss`.
 *
 * @param rows tokens with their loss masks; every one fits `packing.time` + 1 tokens
 * @throws Error when a row does not fit, or nothing is left to train on.
 */
export async function sft(
  host: SftHost,
  model: CausalModel,
  rows: readonly TokenDocument[],
  config: SftConfig,
): Promise<TrainingSummary> {
  const data = dialogueBatches(rows, config, host.seed);
  if (config.lora !== undefined) addAdapters(model, config.lora);
  return trainPacked(
    host,
    model,
    data.loader,
    { ...config, steps: data.steps },
    {
      label: 'sft',
      data: 'rows',
      lastMayBeShort: true,
      objective: (step) => targetObjective(model, step),
      measure: (n) => ({ ...data.progress(), ...heldOutLoss(model, data, config, n) }),
    },
  );
}

/** Next-token loss where only the positions that count pay for the head's work. */
export function targetObjective(model: CausalModel, { batch, rows, hidden, targetsInBatch }: PackedStep) {
  const places = countedPlaces(batch, model.device);
  const [logprobs] = tokenLogprobs(
    hidden.indexSelect(0, places),
    model.headWeight,
    rows.targets.indexSelect(0, places),
  );
  const weights = tensor(batch.lossMask, { device: model.device }).indexSelect(0, places);
  return languageModelLoss(logprobs, weights, { targetsInBatch });
}

/** int64: flat positions of [batch · time] whose target has a loss weight. */
export function countedPlaces({ lossMask }: PackedBatch, device: Device): Tensor {
  const places: number[] = [];
  lossMask.forEach((weight, place) => {
    if (weight !== 0) places.push(place);
  });
  return tensor(Int32Array.from(places), { device }).to('int64');
}

/** Rows as batches, in seeded order, and the number of steps that they make. */
export interface DialogueBatches {
  readonly loader: Loader<TokenDocument>;
  readonly steps: number;
  /** Rows that are trained on; the others are in `heldOut`. */
  readonly rows: readonly TokenDocument[];
  readonly heldOut: readonly PackedBatch[];
  progress(): { epoch: number };
}

/** @throws Error when a row does not fit, none is left, or fewer than asked for can be held out. */
export function dialogueBatches(
  rows: readonly TokenDocument[],
  config: Pick<DialogueTrainingConfig, 'epochs' | 'steps' | 'packing' | 'gradient_accumulation' | 'validation'>,
  seed: number | string,
): DialogueBatches {
  const { packing, validation } = config;
  const packer = { ...packing, overflow: 'fit' } as const;
  rows.forEach(({ tokens }, i) => {
    if (tokens.length > packing.time + 1) {
      throw new Error(
        `row ${i + 1} has ${tokens.length} tokens, packing.time ${packing.time} has room for ${packing.time + 1}`,
      );
    }
  });
  const out = validation?.rows ?? 0;
  if (rows.length <= out) {
    throw new Error(`${rows.length} rows, of which validation.rows holds ${out} out: nothing is left to train on`);
  }
  const order = rows.map((_, i) => i);
  if (out > 0) new Random(`${seed}/held out`).shuffle(order);
  const pick = (indices: readonly number[]) => [...indices].sort((a, b) => a - b).map((i) => rows[i] as TokenDocument);
  const heldOut = pick(order.slice(0, out));
  const training = pick(order.slice(out));
  const epochs = config.steps === undefined ? (config.epochs ?? 1) : Number.POSITIVE_INFINITY;
  const make = () => new Loader(new ShuffledRows(training, { seed, epochs }), (row) => row, packer);
  const loader = make();
  return {
    loader,
    steps: config.steps ?? Math.ceil(countBatches(make()) / config.gradient_accumulation),
    rows: training,
    heldOut: [...batchesOf(heldOut, packer)],
    // Documents that wait to be packed are not gone through yet.
    progress: () => ({ epoch: (loader.documents - loader.state.packer.waiting.length) / training.length }),
  };
}

/** How many batches the rows make is found by packing them once without training: it takes no time beside that. */
function countBatches(loader: Loader<TokenDocument>): number {
  let count = 0;
  while (loader.next() !== undefined) count += 1;
  return count;
}

function* batchesOf(
  rows: readonly TokenDocument[],
  packing: ConstructorParameters<typeof Packer>[0],
): Generator<PackedBatch> {
  const packer = new Packer(packing);
  let next = 0;
  for (;;) {
    const batch = packer.next(() => rows[next++]);
    if (batch === undefined) return;
    yield batch;
  }
}

/** `validation_loss` of step n, in nats per target, when it is asked for at that step. */
export function heldOutLoss(
  model: CausalModel,
  { heldOut, steps }: Pick<DialogueBatches, 'heldOut' | 'steps'>,
  { validation }: Pick<DialogueTrainingConfig, 'validation'>,
  n: number,
): { validation_loss?: number } {
  if (validation === undefined || (n % validation.every !== 0 && n !== steps)) return {};
  return { validation_loss: meanLoss(model, heldOut) };
}

/** Mean next-token loss of batches, in nats per target that counts; no gradient. */
export function meanLoss(model: CausalModel, batches: readonly PackedBatch[]): number {
  const targetsInBatch = batches.reduce((sum, { lossMask }) => sum + lossMask.reduce((a, b) => a + b, 0), 0);
  const lossOf = (batch: PackedBatch): Tensor =>
    scope(() => {
      const rows = packedTensors(batch, model.device);
      const { hidden } = model.forward(rows);
      return targetObjective(model, { batch, rows, hidden, targetsInBatch }).loss;
    });
  const losses = scope(() => noGrad(() => readNumbers(batches.map(lossOf)))).flat();
  return losses.reduce((sum, loss) => sum + loss, 0);
}
