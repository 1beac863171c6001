import {
  cat,
  type Device,
  noGrad,
  type OperatorTime,
  type Profile,
  profile,
  scope,
  type Tensor,
  tensor,
} from '@dunwu/torch';
import type { PackedBatch } from '../data/packing.js';
import type { CausalModel } from '../model/causal-model.js';
import { Decoder } from '../model/decoder.js';
import { PagedCache, pagesFor } from '../model/paged-cache.js';
import { TensorDecoder } from '../model/tensor-decoder.js';
import { fusedColumns } from '../rollout/fused-stepper.js';
import { drawTokens } from '../rollout/sampling.js';
import { drawSettings, drawTensors } from '../rollout/tensor-sampling.js';
import { TENSOR_COLUMNS } from '../rollout/tensor-stepper.js';
import { Random } from '../util/random.js';
import { countFlops } from './flops.js';
import { Optimizer } from './optimizer.js';
import { packedTensors } from './packed.js';
import { nextTokenObjective } from './packed-training.js';

/** A part of a work: how long it took and what in it. All per repetition. */
export interface PhaseProfile {
  readonly name: string;
  /** Wall-clock seconds: those of the operators and those outside them. */
  readonly seconds: number;
  /** By readable names, the slowest first. */
  readonly operators: readonly OperatorTime[];
  /** Seconds in no operator: JavaScript, and calling libtorch from it. */
  readonly outside: number;
  /** The matrix products among the operators. */
  readonly products: { readonly flops: number; readonly seconds: number };
}

/** One work, measured: its phases add up to it. */
export interface WorkProfile {
  readonly work: 'training' | 'generation';
  /** Tokens trained on, or made. */
  readonly tokens: number;
  readonly seconds: number;
  readonly phases: readonly PhaseProfile[];
}

export interface TrainingShape {
  readonly batch: number;
  readonly time: number;
  /** Measured steps, after one that is not. */
  readonly repeat: number;
}

/**
 * Profiles a step of next-token training with AdamW on random tokens, as pretraining does it. Changes the model's weights.
 */
export function profileTraining(model: CausalModel, { batch, time, repeat }: TrainingShape): WorkProfile {
  const rows = randomRows(batch, time, model.config.vocab_size);
  const optimizer = new Optimizer(model.parameters(), {
    kind: 'adamw',
    learning_rate: 1e-4,
    betas: [0.9, 0.95],
    eps: 1e-8,
    weight_decay: 0.1,
  });
  const phases = new Phases(['forward', 'backward', 'optimiser'] as const, model.device);
  const step = () => {
    scope(() => {
      const loss = phases.measure('forward', () => {
        const tensors = packedTensors(rows, model.device);
        const { hidden } = model.forward(tensors);
        return nextTokenObjective(model, { batch: rows, rows: tensors, hidden, targetsInBatch: rows.tokenCount }).loss;
      });
      phases.measure('backward', () => loss.backward());
    });
    phases.measure('optimiser', () => {
      scope(() => optimizer.clip(1, 1).dispose());
      optimizer.step(1);
      optimizer.zeroGrad();
    });
  };
  try {
    step();
    phases.clear();
    for (let i = 0; i < repeat; i++) step();
  } finally {
    optimizer.dispose();
  }
  return phases.result('training', batch * time, repeat);
}

export interface GenerationShape {
  /** Sequences decoded side by side. */
  readonly rows: number;
  /** Tokens of each prompt. */
  readonly prompt: number;
  /** New tokens of each. */
  readonly made: number;
  readonly repeat: number;
}

/**
 * Profiles generation at temperature 1 from random prompts, as rollouts do it: the prompts, in pieces, then token by token.
 * @param fused on the CPU a step is one call (Decoder): its operations are counted by formula, and its time is that of the call.
 *   Elsewhere it is libtorch's operators, one by one and not as a graph
 */
export function profileGeneration(
  model: CausalModel,
  { rows, prompt, made, repeat }: GenerationShape,
  fused = model.device === 'cpu',
): WorkProfile {
  const random = new Random('profile');
  const ids = Array.from({ length: rows }, () => randomTokens(random, prompt, model.config.vocab_size));
  const { device } = model;
  const phases = new Phases(['prefill', 'decode'] as const, device);
  const pagesEach = pagesFor(prompt + made);
  const owners = Array.from({ length: rows }, (_, row) => row);
  model.reserve(prompt + made);
  const { forward } = countFlops(model.config);
  const head = 2 * model.config.vocab_size * model.config.hidden_size;
  const generate = () => {
    const decoder = fused ? new Decoder(model) : new TensorDecoder(model);
    // As the engine's steps of each kind do.
    const readAtOnce = fused ? fusedColumns(decoder.dtype) : TENSOR_COLUMNS;
    const cache = new PagedCache(model.config, rows * pagesEach, decoder.dtype, device);
    // What the plain decoder is given on a device.
    if (!fused) for (const layer of cache.layers) layer.fill_(0);
    const pages = Int32Array.from({ length: rows * pagesEach }, () => cache.take());
    /** @param columns row, place and token of each; `wanted` of them give logits */
    const step = (columns: readonly (readonly [number, number, number])[], wanted: readonly number[]): Tensor =>
      decoder.step(
        {
          tokens: Int32Array.from(columns, ([, , token]) => token),
          lengths: Int32Array.from(columns, ([, at]) => at + 1),
          sequences: Int32Array.from(columns, ([row]) => row),
          pages,
          pagesEach,
          wanted: Int32Array.from(wanted),
        },
        cache,
      );
    try {
      let last: number[] = [];
      const draw = (logits: Tensor): void => {
        const uniforms = owners.map(() => random.next());
        const samplings = owners.map(() => SAMPLING);
        last = scope(() =>
          noGrad(() => {
            if (fused) return drawTokens(logits, owners, uniforms, samplings).tokens;
            const settings = tensor(drawSettings(uniforms, samplings, model.config.vocab_size), {
              shape: [4, rows],
              device,
            });
            return drawTensors(logits, settings, false).tokens.numbers();
          }),
        );
        logits.dispose();
      };
      phases.measure('prefill', () => {
        const all = ids.flatMap((tokens, row) => tokens.map((token, at) => [row, at, token] as const));
        const ends: Tensor[] = [];
        for (let from = 0; from < all.length; from += readAtOnce) {
          const piece = all.slice(from, from + readAtOnce);
          ends.push(
            step(
              piece,
              piece.flatMap(([, at], i) => (at === prompt - 1 ? [i] : [])),
            ),
          );
        }
        draw(cat(ends, 0));
        for (const one of ends) one.dispose();
      });
      phases.measure('decode', () => {
        for (let at = prompt; at < prompt + made - 1; at++)
          draw(
            step(
              owners.map((row) => [row, at, last[row] as number]),
              owners,
            ),
          );
      });
    } finally {
      cache.dispose();
      decoder.dispose();
    }
  };
  generate();
  phases.clear();
  for (let i = 0; i < repeat; i++) generate();
  const { phases: measured, ...whole } = phases.result('generation', rows * made, repeat);
  if (!fused) return { ...whole, phases: measured };
  const contexts = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i + 1);
  const flops = [
    rows * (sum(contexts(0, prompt).map(forward)) - (prompt - 1) * head),
    rows * sum(contexts(prompt, prompt + made - 1).map(forward)),
  ];
  return {
    ...whole,
    phases: measured.map((phase, i) => {
      const seconds = phase.operators.find(({ name }) => name === STEP)?.seconds ?? 0;
      const operators = phase.operators.map((one) => (one.name === STEP ? { ...one, flops: flops[i] as number } : one));
      return { ...phase, operators, products: { flops: flops[i] as number, seconds } };
    }),
  };
}

const STEP = 'dunwu::decoder_step';
const SAMPLING = { temperature: 1, top_k: 0, top_p: 1 };

function randomTokens(random: Random, count: number, vocabulary: number): number[] {
  return Array.from({ length: count }, () => random.int(0, vocabulary - 1));
}

/** Random tokens, each row one document. */
function randomRows(batch: number, time: number, vocabulary: number): PackedBatch {
  const random = new Random('profile');
  const width = time + 1;
  return {
    batch,
    time,
    tokens: Int32Array.from({ length: batch * width }, () => random.int(0, vocabulary - 1)),
    segments: new Int32Array(batch * width),
    positions: Int32Array.from({ length: batch * width }, (_, i) => i % width),
    lossMask: new Float32Array(batch * time).fill(1),
    tokenCount: batch * time,
  };
}

/** Profiles by phase, added up over the repetitions. */
class Phases<Name extends string> {
  readonly #names: readonly Name[];
  readonly #seen = new Map<Name, Profile<unknown>[]>();

  /** @param device where each operator is waited for: see `profile` */
  constructor(
    names: readonly Name[],
    private readonly device: Device = 'cpu',
  ) {
    this.#names = names;
  }

  measure<T>(name: Name, work: () => T): T {
    const one = profile(work, this.device);
    this.#seen.set(name, [...(this.#seen.get(name) ?? []), { ...one, result: undefined }]);
    return one.result;
  }

  /** Forgets what was measured to warm up. */
  clear(): void {
    this.#seen.clear();
  }

  result(work: WorkProfile['work'], tokens: number, repeat: number): WorkProfile {
    const phases = this.#names.map((name) => phaseOf(name, this.#seen.get(name) ?? [], repeat));
    return { work, tokens, seconds: sum(phases.map(({ seconds }) => seconds)), phases };
  }
}

function phaseOf(name: string, profiles: readonly Profile<unknown>[], repeat: number): PhaseProfile {
  const operators = mergeOperators(
    profiles.flatMap((one) => one.operators),
    repeat,
  );
  const seconds = sum(profiles.map((one) => one.seconds)) / repeat;
  const products = operators.filter(({ flops }) => flops > 0);
  return {
    name,
    seconds,
    operators,
    outside: seconds - sum(operators.map((one) => one.seconds)),
    products: { flops: sum(products.map(({ flops }) => flops)), seconds: sum(products.map((one) => one.seconds)) },
  };
}

/** Operators of several profiles by their readable names, divided by the number of repetitions. */
export function mergeOperators(list: readonly OperatorTime[], repeat: number): OperatorTime[] {
  const merged = new Map<string, OperatorTime>();
  for (const { name, calls, seconds, flops } of list) {
    const readable = operatorName(name);
    const before = merged.get(readable) ?? { name: readable, calls: 0, seconds: 0, flops: 0 };
    merged.set(readable, {
      name: readable,
      // The engine's own record of a node stands beside the node's: one call, told twice.
      calls: before.calls + (name.startsWith(ENGINE) ? 0 : calls / repeat),
      seconds: before.seconds + seconds / repeat,
      flops: before.flops + flops / repeat,
    });
  }
  return [...merged.values()].sort((a, b) => b.seconds - a.seconds);
}

const ENGINE = 'autograd::engine::evaluate_function: ';

/** An operator's name for people: nodes of the backward pass without C++'s wrapping. */
export function operatorName(name: string): string {
  const bare = name.replace(ENGINE, '').replace(/^torch::autograd::/, '');
  const node = bare.match(/^CppNode<(.*)>$/)?.[1];
  return node === undefined
    ? bare
    : `${node.replaceAll('(anonymous namespace)::', '').replaceAll('{anonymous}::', '')} backward`;
}

const sum = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);
