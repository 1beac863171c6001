/**
 * A small seeded random source (sfc32) whose whole state is four integers, so that a run can be stopped and resumed
 * with the same numbers. Not for cryptography.
 */
export type RandomState = readonly [number, number, number, number];

/** 32-bit FNV-1a followed by an avalanche step: a stable hash of a string, the same on every machine. */
export function hash32(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    h ^= text.charCodeAt(i);
    h = Math.imul(h, 0x01000193);
  }
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** @param seed any string or number; equal seeds give equal sequences. */
  constructor(seed: number | string | RandomState) {
    if (typeof seed === 'object') {
      [this.#a, this.#b, this.#c, this.#d] = seed;
      return;
    }
    const text = String(seed);
    this.#a = hash32(`a${text}`);
    this.#b = hash32(`b${text}`);
    this.#c = hash32(`c${text}`);
    this.#d = 1;
    for (let i = 0; i < 12; i++) this.next(); // mix the seed in before the first draw
  }

  /** Uniform in [0, 1), 32 random bits. */
  next(): number {
    const t = (((this.#a + this.#b) | 0) + this.#d) | 0;
    this.#d = (this.#d + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (this.#c << 21) | (this.#c >>> 11);
    this.#c = (this.#c + t) | 0;
    return (t >>> 0) / 4294967296;
  }

  /** Uniform integer in [low, high], both ends included. */
  int(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  /** True with probability p. */
  chance(p: number): boolean {
    return this.next() < p;
  }

  /** One element, uniformly. Throws on an empty list. */
  choice<T>(list: readonly T[]): T {
    if (list.length === 0) throw new Error('Random.choice: the list is empty');
    return list[Math.floor(this.next() * list.length)] as T;
  }

  /** One key of a table of non-negative weights, with probability proportional to its weight. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K {
    const keys = Object.keys(weights) as K[];
    const total = keys.reduce((sum, key) => sum + weights[key], 0);
    if (!(total > 0)) throw new Error('Random.weighted: the weights must sum to more than 0');
    let u = this.next() * total;
    for (const key of keys) {
      u -= weights[key];
      if (u < 0) return key;
    }
    return keys.filter((key) => weights[key] > 0).at(-1) as K;
  }

  /** Fisher–Yates, in place. */
  shuffle<T>(list: T[]): T[] {
    for (let i = list.length - 1; i > 0; i--) {
      const j = Math.floor(this.next() * (i + 1));
      [list[i], list[j]] = [list[j] as T, list[i] as T];
    }
    return list;
  }

  /** The state, to be stored and given back to the constructor. */
  get state(): RandomState {
    return [this.#a, this.#b, this.#c, this.#d];
  }
}
