import { readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errorText, UsageError } from '../util/errors.js';
import { toByteChars, tokenBytes } from './byte-alphabet.js';
import { readChatTemplate } from './chat-template.js';
import { createEngine, createPreTokenizer, type Engine, type EnginePreTokenizer } from './engine.js';
import { longestToken } from './longest-token.js';
import { wellFormed } from './pre-tokenizer.js';
import { SPECIAL_TOKENS, type SpecialName } from './special-tokens.js';
import { StreamingDecoder } from './streaming-decoder.js';

/**
 * Text ↔ token ids for any `tokenizer.json`. The engine is `@huggingface/tokenizers`; what is added here: special
 * tokens are not recognised in text unless asked for, words are encoded once and remembered, decoding never throws.
 */

export interface EncodeOptions {
  /**
   * Recognise special (and other added) tokens written in the text. Default false: in text that people or models
   * wrote, `<｜User｜>` is just characters. No option adds tokens at the ends: documents are built in template.ts.
   */
  readonly allow_special?: boolean;
  /** With allow_special: a character that is left out, but keeps apart what stands on its two sides. */
  readonly ignore?: string;
}

export interface DecodeOptions {
  /** Leave special tokens out. Default false. */
  readonly skip_special?: boolean;
}

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special?: boolean;
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
  readonly single_word?: boolean;
  readonly normalized?: boolean;
}

type Json = Readonly<Record<string, unknown>>;

const LARGEST_ID = 2 ** 24;
const CACHED_WORDS = 100_000;
const LONGEST_CACHED_WORD = 128;
const REPLACEMENT = new TextEncoder().encode('\uFFFD');

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isId = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) < LARGEST_ID;

function readJson(path: string): Json {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(`${path}: cannot be read: ${errorText(error)}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${path}: not valid JSON: ${errorText(error)}`);
  }
  if (!isObject(value)) throw new UsageError(`${path}: must hold a JSON object`);
  return value;
}

/** The parts of `tokenizer.json` that are trusted later, checked once. Throws naming the file and the key. */
function checkTokenizerJson(path: string, json: Json): { vocab: Json; added: AddedToken[] } {
  const fail = (what: string): never => {
    throw new UsageError(`${path}: ${what}`);
  };
  const model = json.model;
  if (!isObject(model)) return fail('"model" is missing; is this a tokenizer.json of Hugging Face\'s tokenizers?');
  if (model.type !== undefined && model.type !== 'BPE') {
    return fail(`"model.type" is ${JSON.stringify(model.type)}; only "BPE" is supported`);
  }
  const vocab = model.vocab;
  if (!isObject(vocab)) return fail('"model.vocab" must be an object of token: id');
  const taken = new Map<number, string>();
  for (const [token, id] of Object.entries(vocab)) {
    if (!isId(id)) return fail(`"model.vocab": the id of ${JSON.stringify(token)} is ${JSON.stringify(id)}`);
    const other = taken.get(id);
    if (other !== undefined) {
      return fail(`"model.vocab": ${JSON.stringify(other)} and ${JSON.stringify(token)} both have id ${id}`);
    }
    taken.set(id, token);
  }
  const merges = model.merges;
  if (!Array.isArray(merges)) return fail('"model.merges" must be a list');
  const plain = !model.continuing_subword_prefix && !model.end_of_word_suffix;
  for (const [i, merge] of merges.entries()) {
    const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge;
    if (!Array.isArray(pair) || pair.length !== 2 || pair.some((half) => typeof half !== 'string')) {
      return fail(`"model.merges"[${i}] must be a pair of tokens, not ${JSON.stringify(merge)}`);
    }
    const unknown = [...pair, ...(plain ? [pair.join('')] : [])].find((token) => !Object.hasOwn(vocab, token));
    if (unknown !== undefined)
      return fail(`"model.merges"[${i}] needs ${JSON.stringify(unknown)}, not in the vocabulary`);
  }
  const added = json.added_tokens ?? [];
  if (!Array.isArray(added)) return fail('"added_tokens" must be a list');
  for (const [i, token] of added.entries()) {
    if (!isObject(token) || !isId(token.id) || typeof token.content !== 'string' || token.content === '') {
      return fail(`"added_tokens"[${i}] must have an id and a content`);
    }
  }
  return { vocab, added: added as AddedToken[] };
}

/** `"bos_token": "<s>"` or `"bos_token": {"content": "<s>", …}`. */
function configToken(config: Json, key: string): string | undefined {
  const value = config[key];
  if (typeof value === 'string') return value;
  return isObject(value) && typeof value.content === 'string' ? value.content : undefined;
}

export class Tokenizer {
  readonly #engine: Engine;
  readonly #added: ReadonlyMap<number, AddedToken>;
  readonly #byte_level: boolean;
  /** The splits before a plain ByteLevel step, so that a word is looked up before its bytes are spelled out. */
  readonly #splits: EnginePreTokenizer | undefined;
  /** Added tokens as one pattern, longest first; undefined when their flags need the engine's own matching. */
  readonly #special_pattern: RegExp | undefined;
  readonly #special_id: ReadonlyMap<string, number>;
  readonly #words = new Map<string, readonly number[]>();
  readonly #bytes: Uint8Array[] = [];

  /** Number of ids: the largest id + 1. A model's embedding may be larger, never smaller. */
  readonly vocab_size: number;
  /** UTF-16 code units of text that a token stands for at most; Infinity where that is not certain. */
  readonly longest_token: number;
  /** Ids of the tokens with a meaning of their own, as far as this tokenizer has them. */
  readonly special: Readonly<Partial<Record<SpecialName, number>>>;
  /** The checkpoint's chat template (jinja), if there is one: chat_template.jinja's, else tokenizer_config.json's. */
  readonly chat_template: string | undefined;
  /** Where it was read from: named in errors. */
  readonly path: string;

  private constructor(path: string, json: Json, config: Json) {
    const { vocab, added } = checkTokenizerJson(path, json);
    this.path = path;
    try {
      this.#engine = createEngine(
        { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, ...json, added_tokens: added },
        config,
      );
    } catch (error) {
      throw new UsageError(`${path}: ${errorText(error)}`);
    }
    let largest = -1;
    for (const id of Object.values(vocab)) largest = Math.max(largest, id as number);
    for (const token of added) largest = Math.max(largest, token.id);
    this.vocab_size = largest + 1;
    this.#added = new Map(added.map((token) => [token.id, token]));
    this.#special_id = new Map(added.map((token) => [token.content, token.id]));
    this.#byte_level = isObject(json.decoder) && json.decoder.type === 'ByteLevel';
    this.#splits = plainSplits(json.pre_tokenizer);
    this.longest_token = longestToken(json, vocab, added);
    this.#special_pattern = addedTokenPattern(added, normalizes(json.normalizer));
    this.special = this.#findSpecial(config);
    this.chat_template = readChatTemplate(dirname(path), config);
  }

  /**
   * Reads a tokenizer.
   * @param path a folder with `tokenizer.json` (and `tokenizer_config.json`), or the `tokenizer.json` itself.
   * Throws an error that names the file and the key when a file is missing, malformed or not supported.
   */
  static load(path: string): Tokenizer {
    let folder = false;
    try {
      folder = statSync(path).isDirectory();
    } catch {
      throw new UsageError(`${path}: no such file or folder; expected a folder with tokenizer.json, or that file`);
    }
    const file = folder ? join(path, 'tokenizer.json') : path;
    const config_file = join(dirname(file), 'tokenizer_config.json');
    const json = readJson(file);
    const has_config = statSync(config_file, { throwIfNoEntry: false })?.isFile() ?? false;
    return new Tokenizer(file, json, has_config ? readJson(config_file) : {});
  }

  /** Token ids of a text; [] for ''. */
  encode(text: string, options: EncodeOptions = {}): number[] {
    const ids: number[] = [];
    const clean = wellFormed(text);
    const { ignore } = options;
    const shown = (part: string): string => (ignore === undefined ? part : part.replaceAll(ignore, ''));
    if (!options.allow_special || this.#added.size === 0) {
      this.#encodePlain(shown(clean), 0, ids);
    } else if (this.#special_pattern === undefined) {
      return this.#engine.encode(clean, { add_special_tokens: false }).ids;
    } else {
      for (const [i, part] of clean.split(this.#special_pattern).entries()) {
        // A split with one capturing group gives text and token in turn.
        if (i % 2 === 1) ids.push(this.#special_id.get(part) as number);
        else this.#encodePlain(shown(part), i, ids);
      }
    }
    return ids;
  }

  /**
   * The text with `mark` put into every added token that it spells out, so that `encode` with `ignore: mark` takes them for
   * characters.
   * @param options `keepPlain`: tokens that are added but not special stay whole, and so do think and answer tags
   * @throws Error for a tokenizer whose added tokens have flags that only the engine can match, where one is spelled out
   */
  breakAdded(text: string, mark: string, options: { readonly keepPlain?: boolean } = {}): string {
    if (this.#special_pattern === undefined) {
      const found = [...this.#special_id.keys()].find((token) => text.includes(token));
      if (found === undefined) return text;
      throw new Error(`${this.path}: ${found} in a message cannot be told from the token of that name`);
    }
    const parts = text.split(this.#special_pattern);
    const { think, think_end, answer, answer_end } = this.special;
    const plain = (id: number): boolean =>
      this.#added.get(id)?.special !== true || [think, think_end, answer, answer_end].includes(id);
    const broken = parts.map((part, i) => {
      const id = i % 2 === 1 ? this.#special_id.get(part) : undefined;
      const kept = id === undefined || (options.keepPlain === true && plain(id));
      return kept ? part : part.slice(0, 1) + mark + part.slice(1);
    });
    // A piece that is broken may still be the beginning of another token: once more, until nothing is found.
    const result = broken.join('');
    return result === text ? text : this.breakAdded(result, mark, options);
  }

  /**
   * The text of some ids. Bytes that are no UTF-8 (a character cut at an end, say) and ids outside the vocabulary
   * become U+FFFD. Never throws.
   */
  decode(ids: Iterable<number>, options: DecodeOptions = {}): string {
    if (!this.#byte_level) {
      const known = [...ids].filter((id) => this.id_to_token(id) !== undefined && !this.#skipped(id, options));
      if (known.length === 0) return '';
      return this.#engine.decode(known, { skip_special_tokens: false, clean_up_tokenization_spaces: false });
    }
    const decoder = this.stream(options);
    let text = '';
    for (const id of ids) text += decoder.push(id);
    return text + decoder.end();
  }

  /**
   * A decoder for ids that arrive one by one. The pieces add up to what `decode` gives for all of them.
   * Throws for a tokenizer that is not byte-level.
   */
  stream(options: DecodeOptions = {}): StreamingDecoder {
    if (!this.#byte_level)
      throw new Error(`${this.path}: streaming needs a byte-level tokenizer (decoder "ByteLevel")`);
    return new StreamingDecoder((id) => (this.#skipped(id, options) ? undefined : this.#bytesOf(id)));
  }

  /** The id of a token as the vocabulary spells it (special tokens as they are, others in the byte alphabet). */
  token_to_id(token: string): number | undefined {
    return this.#engine.token_to_id(token);
  }

  id_to_token(id: number): string | undefined {
    return this.#engine.id_to_token(id);
  }

  /** The id of a special token. Throws when this tokenizer has none of that name. */
  special_id(name: SpecialName): number {
    const id = this.special[name];
    if (id !== undefined) return id;
    const spelling = name === 'pad' ? '"pad_token" in tokenizer_config.json' : SPECIAL_TOKENS[name];
    throw new Error(
      `${this.path}: has no ${name} token (${spelling}); train a tokenizer with it or use its chat template`,
    );
  }

  #findSpecial(config: Json): Partial<Record<SpecialName, number>> {
    const special: Partial<Record<SpecialName, number>> = {};
    for (const name of Object.keys(SPECIAL_TOKENS) as (keyof typeof SPECIAL_TOKENS)[]) {
      const token = configToken(config, `${name}_token`) ?? SPECIAL_TOKENS[name];
      const id = this.#special_id.get(token) ?? this.#special_id.get(SPECIAL_TOKENS[name]);
      if (id !== undefined) special[name] = id;
    }
    const pad = configToken(config, 'pad_token');
    const id = pad === undefined ? special.bos : this.#special_id.get(pad);
    if (id !== undefined) special.pad = id;
    return special;
  }

  #skipped(id: number, options: DecodeOptions): boolean {
    return options.skip_special === true && this.#added.get(id)?.special === true;
  }

  #bytesOf(id: number): Uint8Array {
    let bytes = this.#bytes[id];
    if (bytes === undefined) {
      const added = this.#added.get(id);
      const token = this.id_to_token(id);
      if (added !== undefined) bytes = new TextEncoder().encode(added.content);
      else if (token !== undefined) bytes = tokenBytes(token);
      else return REPLACEMENT;
      this.#bytes[id] = bytes;
    }
    return bytes;
  }

  #encodePlain(text: string, section: number, ids: number[]): void {
    if (text === '') return;
    const { normalizer, pre_tokenizer } = this.#engine;
    const normal = normalizer === null ? text : normalizer.normalize(text);
    const words =
      this.#splits !== undefined
        ? this.#splits.pre_tokenize_text(normal)
        : pre_tokenizer === null
          ? [normal]
          : pre_tokenizer.pre_tokenize(normal, { section_index: section });
    for (const word of words) {
      let encoded = this.#words.get(word);
      if (encoded === undefined) {
        encoded = this.#encodeWord(this.#splits === undefined ? word : toByteChars(word));
        if (word.length <= LONGEST_CACHED_WORD) {
          // The oldest word goes first: one long document cannot grow the memory without bound.
          if (this.#words.size >= CACHED_WORDS) this.#words.delete(this.#words.keys().next().value as string);
          this.#words.set(word, encoded);
        }
      }
      for (const id of encoded) ids.push(id);
    }
  }

  #encodeWord(word: string): number[] {
    const model = this.#engine.model;
    const ids: number[] = [];
    for (const token of model.encode([word])) {
      const id = model.tokens_to_ids.get(token) ?? model.unk_token_id;
      if (id === undefined) continue;
      if (this.#byte_level && this.#added.has(id)) {
        // A foreign vocabulary may let merges grow into a special token: spell it out in bytes instead.
        for (const char of token) ids.push(model.tokens_to_ids.get(char) as number);
      } else ids.push(id);
    }
    return ids;
  }
}

/** The splits of a pre-tokenizer that ends in a plain ByteLevel step; undefined for any other kind. */
function plainSplits(config: unknown): EnginePreTokenizer | undefined {
  if (!isObject(config) || config.type !== 'Sequence' || !Array.isArray(config.pretokenizers)) return undefined;
  const steps = config.pretokenizers as Json[];
  const last = steps.at(-1);
  if (last?.type !== 'ByteLevel' || last.use_regex !== false || last.add_prefix_space === true) return undefined;
  const splits = steps.slice(0, -1);
  if (splits.length === 0 || splits.some((step) => step.type !== 'Split')) return undefined;
  return createPreTokenizer(splits);
}

/** Whether a normaliser does anything: DeepSeek-V3's is an empty sequence. */
function normalizes(config: unknown): boolean {
  if (!isObject(config)) return false;
  return config.type !== 'Sequence' || !Array.isArray(config.normalizers) || config.normalizers.some(normalizes);
}

/** One capturing group, longest token first: leftmost-longest, as the engine and Hugging Face match. */
function addedTokenPattern(added: readonly AddedToken[], has_normalizer: boolean): RegExp | undefined {
  const plain = added.every(
    (token) =>
      !token.lstrip && !token.rstrip && !token.single_word && !((token.normalized ?? !token.special) && has_normalizer),
  );
  if (!plain || added.length === 0) return undefined;
  const alternatives = added
    .map((token) => token.content)
    .sort((a, b) => b.length - a.length)
    .map((content) => content.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&'));
  return new RegExp(`(${alternatives.join('|')})`, 'u');
}
