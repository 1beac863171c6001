import { type Device, type Sequences, type Tensor, tensor } from '@dunwu/torch';
import { type ResponsePlaces, responsePlaces, type TrainingSequence } from './packed.js';

/**
 * Responses laid end to end in one row without padding, in bundles: a prompt that several respond to stands once before them,
 * without its last token, so that each response's first prediction keeps a place of its own. A response's last token predicts
 * nothing and is left out.
 */
export interface PackedResponses extends ResponsePlaces {
  /** [time] */
  readonly tokens: Int32Array;
  /** [time]: place within its sequence. */
  readonly positions: Int32Array;
  /** [time]: where in its bundle each token's sequence begins, behind what is shared; 0 for what is shared. */
  readonly starts: Int32Array;
  /** [time]: in how many sequences the token stands and has a next one. */
  readonly counts: Int32Array;
  /** [bundles + 1]: where each bundle begins, and where the last one ends. */
  readonly bounds: Int32Array;
  /** [bundles]: how many first tokens of it its sequences share. */
  readonly shared: Int32Array;
}

/** Bundles that share nothing are filled to so many tokens, for attention takes blocks of some size. */
const LOOSE = 128;

/** Sequences with the same prompt, in the order of their first ones. */
export function byPrompt<T extends TrainingSequence>(sequences: readonly T[]): T[][] {
  const bundles = new Map<string, T[]>();
  for (const one of sequences) {
    const key = one.tokens.slice(0, one.promptLength).join();
    const bundle = bundles.get(key);
    if (bundle === undefined) bundles.set(key, [one]);
    else bundle.push(one);
  }
  return [...bundles.values()];
}

interface Numbered extends TrainingSequence {
  readonly index: number;
}

/** Tokens that sequences with one prompt share. */
function sharedTokens(bundle: readonly TrainingSequence[]): number {
  return bundle.length > 1 ? (bundle[0] as TrainingSequence).promptLength - 1 : 0;
}

/** Where the tokens end that are computed: all before the last one, and the whole prompt where nothing responds. */
function endOf({ tokens, promptLength }: TrainingSequence): number {
  return Math.max(promptLength, tokens.length - 1);
}

/**
 * Splits sequences so that no part has more than `limit` tokens as {@link packResponses} lays them (one sequence at least). Those
 * with one prompt stay together where a part has room for all of them.
 */
export function splitResponses<T extends TrainingSequence>(sequences: readonly T[], limit: number): T[][] {
  const parts: T[][] = [];
  let size = Number.POSITIVE_INFINITY;
  for (const bundle of byPrompt(sequences)) {
    const common = sharedTokens(bundle);
    const whole = bundle.reduce((sum, one) => sum + endOf(one) - common, common);
    let begun = size + whole <= limit;
    if (begun) size += common;
    for (const one of bundle) {
      const own = endOf(one) - common;
      if (!begun || size + own > limit) {
        parts.push([]);
        size = common;
        begun = true;
      }
      (parts[parts.length - 1] as T[]).push(one);
      size += own;
    }
  }
  return parts;
}

/** Packs sequences. @throws Error for one without a prompt: nothing predicts its first token. */
export function packResponses(sequences: readonly TrainingSequence[]): PackedResponses {
  sequences.forEach(({ promptLength }, i) => {
    if (promptLength < 1) throw new Error(`sequence ${i} has no prompt: nothing predicts its first token`);
  });
  const tokens: number[] = [];
  const positions: number[] = [];
  const starts: number[] = [];
  const counts: number[] = [];
  const bounds = [0];
  const shared: number[] = [];
  /** Where in the row each sequence's first token would stand, were it whole. */
  const firsts = new Int32Array(sequences.length);
  const begun = (): number => bounds[bounds.length - 1] as number;
  const close = (common: number): void => {
    bounds.push(tokens.length);
    shared.push(common);
  };
  /** A sequence's tokens from place `from` on. */
  const lay = (one: Numbered, from: number): void => {
    const own = tokens.length;
    firsts[one.index] = own - from;
    for (let i = from; i < endOf(one); i++) {
      tokens.push(one.tokens[i] as number);
      positions.push(i);
      starts.push(own - begun());
      counts.push(i + 1 < one.tokens.length ? 1 : 0);
    }
  };
  const loose: Numbered[] = [];
  for (const bundle of byPrompt(sequences.map((one, index): Numbered => ({ ...one, index })))) {
    const [first] = bundle as [Numbered];
    const common = sharedTokens(bundle);
    if (common === 0) {
      loose.push(...bundle);
      continue;
    }
    for (let i = 0; i < common; i++) {
      tokens.push(first.tokens[i] as number);
      positions.push(i);
      starts.push(0);
      counts.push(bundle.length);
    }
    for (const one of bundle) lay(one, common);
    close(common);
  }
  for (const one of loose) {
    if (tokens.length > begun() && tokens.length - begun() + one.tokens.length > LOOSE) close(0);
    lay(one, 0);
  }
  if (tokens.length > begun()) close(0);

  const array = (numbers: readonly number[]): Int32Array => Int32Array.from(numbers);
  return {
    tokens: array(tokens),
    positions: array(positions),
    starts: array(starts),
    counts: array(counts),
    bounds: array(bounds),
    shared: array(shared),
    ...responsePlaces(sequences, firsts),
  };
}

/** As the input of `forward`, [1, time]. Call inside a scope. */
export function responseTensors(packed: PackedResponses, device: Device) {
  const row = (numbers: Int32Array): Tensor => tensor(numbers, { shape: [1, numbers.length], device }).to('int64');
  const { bounds } = packed;
  const longest = bounds.reduce((most, end, i) => Math.max(most, end - (bounds[i - 1] ?? 0)), 0);
  const sequences: Sequences = {
    bounds: tensor(bounds, { device }),
    longest,
    shared: tensor(packed.shared, { device }),
  };
  return {
    tokens: row(packed.tokens),
    positions: row(packed.positions),
    starts: row(packed.starts),
    sequences,
    length: packed.positions.reduce((most, position) => Math.max(most, position + 1), 0),
  };
}
