import { createPreTokenizer, type EnginePreTokenizer } from './engine.js';
import { learnMerges } from './learn-merges.js';
import { type Digits, splitConfigs, wellFormed } from './pre-tokenizer.js';
import { SPECIAL_TOKEN_LIST } from './special-tokens.js';

/** Byte-level BPE training: texts in, vocabulary and merges out; `saveTokenizer` writes them as `tokenizer.json`. */

export interface BpeOptions {
  /** Number of tokens to aim at, the special tokens and the 256 bytes included; a small corpus may give fewer. */
  readonly vocab_size: number;
  /** Ids 0, 1, 2… in this order. Default: the eight of `SPECIAL_TOKENS`. */
  readonly special_tokens?: readonly string[];
  /** How numbers are cut; default `single`: arithmetic is learned from digits. */
  readonly digits?: Digits;
  /** A pair must occur this often to become a token; default 2. */
  readonly min_frequency?: number;
  /** Called now and then with the number of tokens so far. */
  readonly on_progress?: (tokens: number, vocab_size: number) => void;
}

export interface TrainedBpe {
  /** Tokens by id. Special tokens as they are, all others in GPT-2's byte alphabet. */
  readonly vocab: readonly string[];
  /** The two halves of each merge, in the order they are applied. */
  readonly merges: readonly (readonly [string, string])[];
  readonly special_tokens: readonly string[];
  readonly digits: Digits;
}

/**
 * Collects word counts, text by text (a corpus is never held, only its distinct words), then trains.
 * Equal texts and options give an equal vocabulary, in any order of the texts. Texts are cut at special tokens, which
 * are never part of a word.
 */
export class BpeTrainer {
  readonly #options: BpeOptions;
  readonly #special_tokens: readonly string[];
  readonly #digits: Digits;
  readonly #cut: RegExp | undefined;
  readonly #splits: EnginePreTokenizer;
  readonly #words = new Map<string, number>();

  /** Throws on a vocabulary too small for the bytes, on duplicate or empty special tokens, on unknown options. */
  constructor(options: BpeOptions) {
    this.#options = options;
    this.#special_tokens = options.special_tokens ?? SPECIAL_TOKEN_LIST;
    this.#digits = options.digits ?? 'single';
    if (this.#special_tokens.includes('')) throw new Error('special_tokens: a token is empty');
    const twice = this.#special_tokens.find((token, i) => this.#special_tokens.indexOf(token) !== i);
    if (twice !== undefined) throw new Error(`special_tokens: ${JSON.stringify(twice)} is listed twice`);
    const least = this.#special_tokens.length + 256;
    if (!Number.isInteger(options.vocab_size) || options.vocab_size < least) {
      throw new Error(
        `vocab_size: ${options.vocab_size} is not an integer of at least ${least} ` +
          `(${this.#special_tokens.length} special tokens + 256 bytes)`,
      );
    }
    const { min_frequency } = options;
    if (min_frequency !== undefined && !(Number.isInteger(min_frequency) && min_frequency >= 1)) {
      throw new Error(`min_frequency: ${min_frequency} is not an integer of at least 1`);
    }
    this.#splits = createPreTokenizer(splitConfigs(this.#digits));
    const alternatives = [...this.#special_tokens]
      .sort((a, b) => b.length - a.length)
      .map((token) => token.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&'));
    this.#cut = alternatives.length > 0 ? new RegExp(alternatives.join('|'), 'u') : undefined;
  }

  /** Counts the words of a text, `count` times. */
  add(text: string, count = 1): void {
    if (!Number.isInteger(count) || count < 1) throw new Error(`count: ${count} is not an integer of at least 1`);
    const clean = wellFormed(text);
    for (const section of this.#cut === undefined ? [clean] : clean.split(this.#cut)) {
      if (section === '') continue;
      for (const word of this.#splits.pre_tokenize_text(section)) {
        this.#words.set(word, (this.#words.get(word) ?? 0) + count);
      }
    }
  }

  /** Number of distinct words so far: what the memory is bounded by. */
  get distinct_words(): number {
    return this.#words.size;
  }

  /** Throws when no text was added. */
  train(): TrainedBpe {
    if (this.#words.size === 0) throw new Error('tokenizer training: the corpus holds no text');
    const { vocab_size, min_frequency = 2, on_progress } = this.#options;
    const { vocab, merges } = learnMerges(this.#words, {
      vocab_size,
      min_frequency,
      special_tokens: this.#special_tokens,
      ...(on_progress === undefined ? {} : { on_progress }),
    });
    return {
      vocab,
      merges: merges.map(([left, right]) => [vocab[left] as string, vocab[right] as string] as const),
      special_tokens: this.#special_tokens,
      digits: this.#digits,
    };
  }
}

/** Trains on texts, or on texts with how often each occurs. */
export function trainBpe(
  corpus: Iterable<string | { readonly text: string; readonly count: number }>,
  options: BpeOptions,
): TrainedBpe {
  const trainer = new BpeTrainer(options);
  for (const item of corpus) {
    if (typeof item === 'string') trainer.add(item);
    else trainer.add(item.text, item.count);
  }
  return trainer.train();
}
