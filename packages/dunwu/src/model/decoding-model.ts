import { type Device, keep, openCheckpoint, scope, type Tensor } from '@dunwu/torch';
import { loadAdapter } from './adapter-folder.js';
import type { CausalModel } from './causal-model.js';
import { loadModel, modelWithoutWeights, readWeights } from './checkpoint.js';
import { computeType } from './compute-type.js';
import type { Decodable } from './decodable.js';
import { readyPart } from './decoder.js';
import { type DecoderPart, decoderTensors, isMerged } from './decoder-parts.js';
import { absorbAdapters } from './lora.js';

/**
 * A model that nothing is asked of but to be decoded with: its weights are there once, in bfloat16 and as the decoder reads them, where
 * a {@link CausalModel} keeps them in float32 and every decoder of it a rounded copy.
 */
export class DecodingModel implements Decodable {
  readonly config: CausalModel['config'];
  readonly generation: CausalModel['generation'];
  readonly device: Device;
  readonly dtype = 'bfloat16';
  /** Its weights are gone; what is left is what positions are rotated by. */
  readonly #model: CausalModel;
  readonly #parts: Readonly<Record<string, Tensor>>;

  /** @param parts what decoders of the model would make of its weights; both are taken over */
  constructor(model: CausalModel, parts: Readonly<Record<string, Tensor>>) {
    this.config = model.config;
    this.generation = model.generation;
    this.device = model.rotary[0].device;
    this.#parts = parts;
    this.#model = model;
    model.disposeWeights();
  }

  decoderParts(): Readonly<Record<string, Tensor>> {
    return this.#parts;
  }

  get rotary(): CausalModel['rotary'] {
    return this.#model.rotary;
  }

  reserve(length: number): void {
    this.#model.reserve(length);
  }

  dispose(): void {
    for (const part of Object.values(this.#parts)) part.dispose();
    this.#model.dispose();
  }
}

/** `loadModel`, and an adapter put into the weights for good. @throws Error as `loadModel` and `loadAdapter` */
export function loadMerged(folder: string, device: Device = 'cpu', adapter?: string): CausalModel {
  const model = loadModel(folder, device);
  if (adapter === undefined) return model;
  try {
    loadAdapter(model, adapter);
  } catch (error) {
    model.dispose();
    throw error;
  }
  absorbAdapters(model);
  return model;
}

/**
 * Loads a model to generate with and for nothing else, in the type that is computed in: in bfloat16 a {@link DecodingModel}, of
 * which no more than one weight at a time is there in float32. The tokens are those of `loadModel`.
 *
 * @param adapter folder of an adapter that the weights get
 * @throws Error as {@link loadMerged}
 */
export function loadForDecoding(folder: string, device: Device = 'cpu', adapter?: string): Decodable {
  if (computeType() === 'float32') return loadMerged(folder, device, adapter);
  using source = openCheckpoint(folder);
  const model = modelWithoutWeights(folder, source, device);
  const parts: Record<string, Tensor> = {};
  try {
    if (adapter !== undefined) loadAdapter(model, adapter);
    const of = partsByWeight(model);
    readWeights(model, source, ({ tensor }) => {
      scope(() => {
        for (const [name, part] of readyParts(of.get(tensor) ?? [], device)) parts[name] = keep(part);
      });
      tensor.dispose();
    });
    return new DecodingModel(model, parts);
  } catch (error) {
    for (const part of Object.values(parts)) part.dispose();
    model.dispose();
    throw error;
  }
}

type NamedPart = readonly [name: string, part: DecoderPart];

/** What is read of each weight, or made from it. */
function partsByWeight(model: CausalModel): ReadonlyMap<Tensor, readonly NamedPart[]> {
  const of = new Map<Tensor, NamedPart[]>();
  for (const [name, part] of Object.entries(model.decoderParts())) {
    if (part === null) continue;
    const weight = isMerged(part) ? part.weight : part;
    of.set(weight, [...(of.get(weight) ?? []), [name, part]]);
  }
  return of;
}

/** A weight's parts as decoders read them. One that is the embedding and the head is there once: decoder.cpp reads it as both. */
function readyParts(parts: readonly NamedPart[], device: Device): Iterable<[name: string, tensor: Tensor]> {
  if (device !== 'cpu') return decoderTensors(Object.fromEntries(parts), 'bfloat16');
  const tied = parts.some(([name]) => name === 'head');
  return parts
    .filter(([name]) => !tied || name === 'head')
    .map(([name, part]) => readyPart(name, isMerged(part) ? part.merged() : part, 'bfloat16'));
}
