import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Device, noGrad, openSafetensors, scope, type Tensor, tensor, writeSafetensors } from '@dunwu/torch';
import { CausalModel, type ModelInput, type ModelOutput } from './causal-model.js';
import { loadModel, saveModel } from './checkpoint.js';
import { filled, normal, type Parameter, parameter, weightsOn } from './parameter.js';

/** The file of a model folder that makes it a scalar model. */
export const SCORE_HEAD_FILE = 'score_head.safetensors';

const WEIGHT = 'score.weight';
const BIAS = 'score.bias';

/**
 * A language model's trunk with one number for each token in place of the next token's probabilities: a reward model
 * (its last token's number) or a value function (every token's). value = w · hidden + b.
 */
export class ScalarModel {
  /** Owned: disposed with this. Its language-model head is kept, and stays as it is. */
  readonly trunk: CausalModel;
  readonly #weight: Tensor;
  readonly #bias: Tensor;

  /**
   * A fresh head on a trunk: w ~ N(0, 1/(hidden + 1)) from the default generator (seed it first), b = 0 (Stiennon et al.
   * 2020, arXiv 2009.01325, appendix B.1).
   */
  constructor(trunk: CausalModel) {
    using _ = weightsOn(trunk.device);
    const { hidden_size: hidden } = trunk.config;
    this.trunk = trunk;
    this.#weight = normal([1, hidden], 1 / Math.sqrt(hidden + 1));
    this.#bias = filled([1], 0);
  }

  /** Where the weights are: see CausalModel. */
  get device(): Device {
    return this.trunk.device;
  }

  /** What is trained: the trunk without its language-model head, and the score head. */
  parameters(): Parameter[] {
    return [
      ...this.trunk.parameters().filter(({ name }) => name !== 'lm_head.weight'),
      parameter(WEIGHT, 'vector', this.#weight),
      parameter(BIAS, 'vector', this.#bias),
    ];
  }

  /** `values`: float32 [batch · time], the number of every token, row by row. */
  forward(input: ModelInput): { readonly values: Tensor; readonly routers: ModelOutput['routers'] } {
    const { hidden, routers } = this.trunk.forward(input);
    return { values: this.read(hidden), routers };
  }

  /** The head alone: hidden [N, hidden] → float32 [N]. */
  read(hidden: Tensor): Tensor {
    // In float32 whatever the trunk computes in: one number, which is compared and subtracted.
    return hidden.to(this.#weight.dtype).linear(this.#weight, this.#bias).squeeze(-1).to('float32');
  }

  /**
   * The number of each sequence's last token, float32 [sequences]. Rows are filled up on the right, where no token of
   * the sequence looks: what stands beside a sequence changes its number by rounding only. Call inside a scope.
   * @throws Error when a sequence is empty or longer than the model can take.
   */
  last(sequences: readonly (readonly number[])[]): Tensor {
    const time = sequences.reduce((longest, { length }) => Math.max(longest, length), 0);
    const tokens = new Int32Array(sequences.length * time);
    const places = sequences.map((sequence, row) => {
      if (sequence.length === 0) throw new Error(`sequence ${row} has no tokens`);
      tokens.set(sequence, row * time);
      return row * time + sequence.length - 1;
    });
    const { device } = this;
    const rows = tensor(tokens, { shape: [sequences.length, time], device }).to('int64');
    const { hidden } = this.trunk.forward({ tokens: rows });
    return this.read(hidden.indexSelect(0, tensor(Int32Array.from(places), { device }).to('int64')));
  }

  /** Adds to b, and so to every number: differences stay as they are. */
  shift(by: number): void {
    noGrad(() => scope(() => this.#bias.add_(by)));
  }

  setTrainable(trainable: boolean): void {
    this.trunk.setTrainable(trainable);
    for (const weight of [this.#weight, this.#bias]) weight.requiresGrad = trainable;
  }

  /** Copies all weights of another model of the same config, without gradients. */
  copyFrom(other: ScalarModel): void {
    this.trunk.copyFrom(other.trunk);
    this.#setHead(other.#weight, other.#bias);
  }

  /** Writes the score head into an existing folder. */
  saveHead(folder: string): void {
    const head = { [WEIGHT]: this.#weight.detach(), [BIAS]: this.#bias.detach() };
    writeSafetensors(join(folder, SCORE_HEAD_FILE), head);
    for (const view of Object.values(head)) view.dispose();
  }

  /**
   * Reads the score head of a folder.
   * @throws Error naming the file and what does not fit: other tensors, other shapes, values that are not finite.
   */
  loadHead(folder: string): void {
    const file = join(folder, SCORE_HEAD_FILE);
    if (!existsSync(file)) throw new Error(`${file}: there is no such file: ${folder} holds no reward model`);
    scope(() => {
      using source = openSafetensors(file);
      const expected = new Map([
        [WEIGHT, this.#weight],
        [BIAS, this.#bias],
      ]);
      const strange = source.names.find((name) => !expected.has(name));
      if (strange !== undefined) throw new Error(`${file}: ${strange} is in the file but not in a score head`);
      for (const [name, own] of expected) {
        if (!source.has(name)) throw new Error(`${file}: ${name} is missing`);
        const { dtype, shape } = source.info(name);
        if (!['float32', 'bfloat16', 'float16', 'float64'].includes(dtype)) {
          throw new Error(`${file}: ${name} is ${dtype}; expected float32, bfloat16, float16 or float64`);
        }
        if (String(shape) !== String(own.shape)) {
          throw new Error(`${file}: ${name} has the shape [${shape}], config.json asks for [${own.shape}]`);
        }
        if (!source.tensor(name).to('float32').numbers().every(Number.isFinite)) {
          throw new Error(`${file}: ${name} has values that are not finite`);
        }
      }
      this.#setHead(source.tensor(WEIGHT), source.tensor(BIAS));
    });
  }

  dispose(): void {
    this.trunk.dispose();
    this.#weight.dispose();
    this.#bias.dispose();
  }

  #setHead(weight: Tensor, bias: Tensor): void {
    scope(() =>
      noGrad(() => {
        this.#weight.copy_(weight.detach());
        this.#bias.copy_(bias.detach());
      }),
    );
  }
}

/** A model folder as saveModel writes it, with the score head beside. */
export async function saveScalarModel(model: ScalarModel, folder: string): Promise<void> {
  await saveModel(model.trunk, folder);
  model.saveHead(folder);
}

/** @throws Error naming the file that is missing or does not fit. */
export function loadScalarModel(folder: string, device: Device = 'cpu'): ScalarModel {
  const model = new ScalarModel(loadModel(folder, device));
  try {
    model.loadHead(folder);
    return model;
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** A copy of a scalar model, with memory of its own. */
export function copyScalarModel(model: ScalarModel): ScalarModel {
  const copy = new ScalarModel(new CausalModel(model.trunk.config, model.device));
  copy.copyFrom(model);
  return copy;
}
