import type { Message } from '../text/template.js';

/** What can be wrong with a document that was made imperfect on purpose. */
export type Flaw = 'direct' | 'no-format' | 'unclosed' | 'mixed-language' | 'wrong-language' | 'bug' | 'random-error';

/** A question and what is answered to it: User and Assistant in the chat template. */
export interface DialogueDocument {
  readonly question: string;
  readonly response: string;
  /** What was put wrong on purpose; absent for documents from files. */
  readonly flaws?: readonly Flaw[];
}

/** Running text, to be learned as it is, without roles. */
export interface TextDocument {
  readonly text: string;
}

/** A conversation of any number of turns, as `renderMessages` takes it. */
export interface MessagesDocument {
  readonly messages: readonly Message[];
}

/** Told apart by their keys: `'question' in document`, `'text' in document`, `'messages' in document`. */
export type Document = DialogueDocument | TextDocument | MessagesDocument;

/**
 * Documents one after another, in an order that its state determines.
 * `state` is plain JSON: given to `restore` of a source made from the same configuration, the same documents follow.
 */
export interface DocumentSource<D = Document> {
  /** The next document; undefined at the end, for ever after. */
  next(): D | undefined;
  readonly state: unknown;
  /** Throws when the state is not one of this kind of source. */
  restore(state: unknown): void;
  /** Closes files; the source is not used afterwards. */
  close(): void;
}
