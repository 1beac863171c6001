import type { NamedTensors } from '../safetensors.js';
import { keep, scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

/** What optimisers share: groups of named parameters, and moments that are made, saved and loaded by name. */

export interface ParameterGroup {
  /**
   * The parameters by name, or as a list, whose names are then `group.place` such as `0.3`. Names are the keys of the
   * saved state: name the parameters if their order may change.
   */
  readonly params: NamedTensors | readonly Tensor[];
  /** Decoupled weight decay of this group; default: the optimiser's. The usual choice: matrices only. */
  readonly weightDecay?: number;
  /** This group's learning rate is `lr * lrScale`; default 1. */
  readonly lrScale?: number;
}

export interface Group {
  readonly params: ReadonlyMap<string, Tensor>;
  readonly weightDecay: number;
  readonly lrScale: number;
}

/** Checks and names the groups' parameters. @throws Error for a name or a tensor that is there twice. */
export function resolveGroups(who: string, groups: readonly ParameterGroup[], weightDecay: number): Group[] {
  const names = new Set<string>();
  const seen = new Set<Tensor>();
  return groups.map((group, place) => {
    const given: [string, Tensor][] = Array.isArray(group.params)
      ? (group.params as readonly Tensor[]).map((param, i) => [`${place}.${i}`, param])
      : group.params instanceof Map
        ? [...(group.params as ReadonlyMap<string, Tensor>)]
        : Object.entries(group.params as Readonly<Record<string, Tensor>>);
    for (const [name, param] of given) {
      if (names.has(name)) throw new Error(`${who}: two parameters have the name '${name}'`);
      if (seen.has(param)) throw new Error(`${who}: parameter '${name}' is given twice`);
      names.add(name);
      seen.add(param);
    }
    const resolved = {
      params: new Map(given),
      weightDecay: group.weightDecay ?? weightDecay,
      lrScale: group.lrScale ?? 1,
    };
    requireRange(who, 'weightDecay', resolved.weightDecay, 0, Number.POSITIVE_INFINITY);
    requireRange(who, 'lrScale', resolved.lrScale, 0, Number.POSITIVE_INFINITY);
    return resolved;
  });
}

/** @throws RangeError unless low ≤ value < high. */
export function requireRange(who: string, what: string, value: number, low: number, high: number): void {
  if (!(value >= low && value < high))
    throw new RangeError(`${who}: ${what} must be in [${low}, ${high}), got ${value}`);
}

/** A parameter that has a gradient in this step. */
export interface Ready {
  readonly name: string;
  readonly param: Tensor;
  readonly grad: Tensor;
}

/** The group's parameters that have a gradient. Call inside a scope: the gradients' handles are new. */
export function withGradient(group: Group): Ready[] {
  const ready: Ready[] = [];
  for (const [name, param] of group.params) {
    const { grad } = param;
    if (grad !== null) ready.push({ name, param, grad });
  }
  return ready;
}

export function zeroGrad(groups: readonly Group[]): void {
  for (const group of groups) for (const param of group.params.values()) param.grad = null;
}

/** What an optimiser remembers of its parameters, made when a parameter's first gradient comes. */
export class Moments<Key extends string> {
  readonly #slots = new Map<string, Record<Key, Tensor>>();

  constructor(
    private readonly who: string,
    private readonly keys: readonly Key[],
    private readonly make: (param: Tensor) => Record<Key, Tensor>,
  ) {}

  /** Those of one parameter. */
  of(name: string, param: Tensor): Record<Key, Tensor> {
    const known = this.#slots.get(name);
    if (known !== undefined) return known;
    const made = scope(() => this.#own(this.make(param)));
    this.#slots.set(name, made);
    return made;
  }

  /** All of them as `name.key`; the tensors themselves, which the next step changes. */
  state(): Record<string, Tensor> {
    const state: Record<string, Tensor> = {};
    for (const [name, slot] of this.#slots) for (const key of this.keys) state[`${name}.${key}`] = slot[key];
    return state;
  }

  /** Replaces all of them by copies. A parameter that the state does not mention starts anew, as it did when saved. */
  load(state: NamedTensors, groups: readonly Group[]): void {
    const left = new Map(state instanceof Map ? state : Object.entries(state as Readonly<Record<string, Tensor>>));
    const loaded = new Map<string, Record<Key, Tensor>>();
    try {
      for (const { params } of groups) {
        for (const [name, param] of params) {
          const found = this.keys.filter((key) => left.has(`${name}.${key}`));
          if (found.length === 0) continue;
          scope(() => {
            const slot = this.make(param);
            for (const key of this.keys) {
              const full = `${name}.${key}`;
              const source = left.get(full) as Tensor | undefined;
              if (source === undefined) throw new Error(`${this.who}.load: the state lacks '${full}'`);
              if (String(source.shape) !== String(slot[key].shape) || source.dtype !== slot[key].dtype) {
                throw new Error(`${this.who}.load: '${full}' is ${source}, this parameter needs ${slot[key]}`);
              }
              slot[key].copy_(source);
              left.delete(full);
            }
            loaded.set(name, this.#own(slot));
          });
        }
      }
      const [unknown] = left.keys();
      if (unknown !== undefined) throw new Error(`${this.who}.load: '${unknown}' belongs to no parameter here`);
    } catch (error) {
      for (const slot of loaded.values()) for (const key of this.keys) slot[key].dispose();
      throw error;
    }
    this.dispose();
    for (const [name, slot] of loaded) this.#slots.set(name, slot);
  }

  dispose(): void {
    for (const slot of this.#slots.values()) for (const key of this.keys) slot[key].dispose();
    this.#slots.clear();
  }

  #own(slot: Record<Key, Tensor>): Record<Key, Tensor> {
    return Object.fromEntries(this.keys.map((key) => [key, keep(slot[key])])) as Record<Key, Tensor>;
  }
}
