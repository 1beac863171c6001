import { BYTE_ALPHABET, BYTE_TO_CHAR } from './byte-alphabet.js';

/**
 * Byte-pair encoding's training loop (Sennrich et al. 2016, algorithm 1): join the most frequent pair of neighbours,
 * again and again.
 *
 * All distinct words lie in one array of symbols, one position a byte, with a border between words. A token that
 * spans several bytes is stored at its first position, its length at its first and last, so both neighbours are found
 * in constant time, and each pair keeps the positions where it began: a merge costs the pair's occurrences, not the
 * length of the words they stand in. That matters for Chinese, where a "word" is a whole run between two commas.
 */

export interface LearnOptions {
  /** Stop when the vocabulary has this many tokens, special tokens and the 256 bytes included. */
  readonly vocab_size: number;
  /** Stop when the best pair occurs less often than this. */
  readonly min_frequency: number;
  readonly special_tokens: readonly string[];
  readonly on_progress?: (tokens: number, vocab_size: number) => void;
}

export interface LearnedMerges {
  /** Tokens by id, in the byte alphabet: special tokens, the 256 bytes, then one token for each merge. */
  readonly vocab: string[];
  /** Pairs of ids, in the order they are applied. */
  readonly merges: (readonly [left: number, right: number])[];
}

const BORDER = -1;

/** Pairs of neighbouring tokens, each with its index into parallel columns. */
class PairTable {
  readonly left: number[] = [];
  readonly right: number[] = [];
  /** Occurrences, weighted by the words' counts. */
  readonly count: number[] = [];
  /** Positions where the pair began; some may have changed since. */
  readonly positions: number[][] = [];
  readonly #index = new Map<number, number>();

  static readonly #STRIDE = 2 ** 26;

  index(left: number, right: number): number {
    const key = left * PairTable.#STRIDE + right;
    let i = this.#index.get(key);
    if (i === undefined) {
      i = this.left.length;
      this.#index.set(key, i);
      this.left.push(left);
      this.right.push(right);
      this.count.push(0);
      this.positions.push([]);
    }
    return i;
  }
}

/**
 * The most frequent pair first; ties by the smaller left id, then the smaller right id (Hugging Face's rule).
 * Counts only fall after a pair was pushed, so an outdated entry is corrected when it comes to the top.
 */
class PairHeap {
  readonly #pairs: PairTable;
  readonly #heap: number[] = [];
  /** The count each pair was last pushed with. */
  readonly #seen: number[] = [];

  constructor(pairs: PairTable) {
    this.#pairs = pairs;
  }

  #before(a: number, b: number): boolean {
    const ca = this.#seen[a] as number;
    const cb = this.#seen[b] as number;
    if (ca !== cb) return ca > cb;
    const { left, right } = this.#pairs;
    if (left[a] !== left[b]) return (left[a] as number) < (left[b] as number);
    return (right[a] as number) < (right[b] as number);
  }

  push(pair: number): void {
    this.#seen[pair] = this.#pairs.count[pair] as number;
    const heap = this.#heap;
    let i = heap.length;
    heap.push(pair);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!this.#before(pair, heap[parent] as number)) break;
      heap[i] = heap[parent] as number;
      i = parent;
    }
    heap[i] = pair;
  }

  #removeTop(): number {
    const heap = this.#heap;
    const top = heap[0] as number;
    const last = heap.pop() as number;
    const n = heap.length;
    if (n === 0) return top;
    let i = 0;
    for (let child = 1; child < n; child = 2 * i + 1) {
      if (child + 1 < n && this.#before(heap[child + 1] as number, heap[child] as number)) child++;
      if (!this.#before(heap[child] as number, last)) break;
      heap[i] = heap[child] as number;
      i = child;
    }
    heap[i] = last;
    return top;
  }

  /** The best pair by its present count, or undefined when none occurs `at_least` times. */
  pop(at_least: number): number | undefined {
    while (this.#heap.length > 0) {
      const top = this.#removeTop();
      const now = this.#pairs.count[top] as number;
      if (now === this.#seen[top]) return now >= at_least ? top : undefined;
      if (now >= at_least) this.push(top);
    }
    return undefined;
  }
}

/** @param words distinct words (raw text) with how often each occurs. */
export function learnMerges(words: ReadonlyMap<string, number>, options: LearnOptions): LearnedMerges {
  const vocab = [...options.special_tokens, ...BYTE_ALPHABET];
  const special = new Set(options.special_tokens);
  const first_byte = options.special_tokens.length;
  const byte_id = BYTE_TO_CHAR.map((char) => first_byte + BYTE_ALPHABET.indexOf(char));
  const at_least = Math.max(1, options.min_frequency);

  let size = 1;
  for (const word of words.keys()) size += Buffer.byteLength(word) + 1;
  const symbol = new Int32Array(size).fill(BORDER);
  const length = new Int32Array(size); // 0 at a border
  const weight = new Float64Array(words.size);
  const word_of = new Int32Array(size);

  const pairs = new PairTable();
  const utf8 = new TextEncoder();
  let at = 1;
  let word_index = 0;
  for (const [word, count] of words) {
    weight[word_index] = count;
    for (const byte of utf8.encode(word)) {
      symbol[at] = byte_id[byte] as number;
      length[at] = 1;
      word_of[at] = word_index;
      if (length[at - 1] !== 0) {
        const pair = pairs.index(symbol[at - 1] as number, symbol[at] as number);
        pairs.count[pair] = (pairs.count[pair] as number) + count;
        pairs.positions[pair]?.push(at - 1);
      }
      at++;
    }
    at++; // leave a border
    word_index++;
  }

  const heap = new PairHeap(pairs);
  for (let pair = 0; pair < pairs.left.length; pair++) heap.push(pair);

  const merges: (readonly [number, number])[] = [];
  while (vocab.length < options.vocab_size) {
    const best = heap.pop(at_least);
    if (best === undefined) break;
    const left = pairs.left[best] as number;
    const right = pairs.right[best] as number;
    const token = `${vocab[left]}${vocab[right]}`;
    // Plain text must never be able to grow into a token that has a meaning of its own.
    if (special.has(token)) continue;
    const joined = vocab.length;
    vocab.push(token);
    merges.push([left, right]);
    if (merges.length % 256 === 0) options.on_progress?.(vocab.length, options.vocab_size);

    const first_new = pairs.left.length;
    for (const p of pairs.positions[best] as number[]) {
      if (symbol[p] !== left) continue;
      const q = p + (length[p] as number);
      if (symbol[q] !== right) continue;
      const w = weight[word_of[p] as number] as number;
      const span = (length[p] as number) + (length[q] as number);
      symbol[p] = joined;
      symbol[q] = BORDER; // no token begins here any more
      length[p] = span;
      length[p + span - 1] = span;
      const before = length[p - 1] as number;
      if (before > 0) {
        const o = p - before;
        const neighbour = symbol[o] as number;
        const lost = pairs.index(neighbour, left);
        pairs.count[lost] = (pairs.count[lost] as number) - w;
        const won = pairs.index(neighbour, joined);
        pairs.count[won] = (pairs.count[won] as number) + w;
        pairs.positions[won]?.push(o);
      }
      const n = p + span;
      const neighbour = symbol[n] as number;
      if (neighbour !== BORDER) {
        const lost = pairs.index(right, neighbour);
        pairs.count[lost] = (pairs.count[lost] as number) - w;
        const won = pairs.index(joined, neighbour);
        pairs.count[won] = (pairs.count[won] as number) + w;
        pairs.positions[won]?.push(p);
      }
    }
    pairs.positions[best] = [];
    pairs.count[best] = 0;
    for (let pair = first_new; pair < pairs.left.length; pair++) {
      if ((pairs.count[pair] as number) >= at_least) heap.push(pair);
      else pairs.positions[pair] = [];
    }
  }
  return { vocab, merges };
}
