import * as library from '@huggingface/tokenizers';

/**
 * The part of `@huggingface/tokenizers` that is used here, with its types. The package's own declarations import each
 * other without file extensions, so under Node's module resolution they come out as `any`.
 */

export interface EnginePreTokenizer {
  pre_tokenize(text: string, options?: { section_index: number }): string[];
  pre_tokenize_text(text: string): string[];
}

export interface EngineModel {
  readonly tokens_to_ids: ReadonlyMap<string, number>;
  readonly unk_token_id: number | undefined;
  /** Words → tokens. */
  encode(words: string[]): string[];
}

export interface Engine {
  readonly normalizer: { normalize(text: string): string } | null;
  readonly pre_tokenizer: EnginePreTokenizer | null;
  readonly model: EngineModel;
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] };
  decode(ids: number[], options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean }): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
}

interface Library {
  readonly Tokenizer: new (tokenizer: object, config: object) => Engine;
  readonly SequencePreTokenizer: new (config: {
    type: 'Sequence';
    pretokenizers: readonly object[];
  }) => EnginePreTokenizer;
}

const { Tokenizer, SequencePreTokenizer } = library as unknown as Library;

/** @param json `tokenizer.json`, parsed; @param config `tokenizer_config.json`, parsed, or {}. Throws on either. */
export function createEngine(json: object, config: object): Engine {
  return new Tokenizer(json, config);
}

/** Pre-tokenizers applied one after the other, each a `pre_tokenizer` object of tokenizer.json. */
export function createPreTokenizer(steps: readonly object[]): EnginePreTokenizer {
  return new SequencePreTokenizer({ type: 'Sequence', pretokenizers: steps });
}
