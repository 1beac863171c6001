import type { ContinuousEngine } from '../rollout/continuous-engine.js';
import type { Tokenizer } from '../text/tokenizer.js';

export interface ServedModel {
  /** What clients call it. */
  readonly name: string;
  readonly tokenizer: Tokenizer;
  /** Token ids that end a response. */
  readonly stop: readonly number[];
  /** Tokens that prompt and response may have together. */
  readonly positions: number;
}

export interface ServerSettings {
  /** Clients must send `Authorization: Bearer …` with it. */
  readonly token?: string;
  /** Values of the `Host` header that are answered (names without port); others are another site's trick. null: any. */
  readonly hosts: readonly string[] | null;
  /** Web pages (values of `Origin`) whose scripts may ask. */
  readonly origins: readonly string[];
  /** Requests that may wait for room, at least 1; more are told to come again. */
  readonly queue: number;
  /** Longest time for a request, in milliseconds, waiting included. */
  readonly timeoutMs: number;
  /** Longest body, in bytes. */
  readonly bodyBytes?: number;
}

/** What every endpoint works with. */
export interface Service {
  readonly engine: ContinuousEngine;
  readonly model: ServedModel;
  readonly settings: ServerSettings;
}
