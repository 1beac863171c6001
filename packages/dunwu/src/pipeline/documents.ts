import type { Document } from '../data/document.js';
import { renderDocument, renderMessages } from '../text/template.js';
import type { Tokenizer } from '../text/tokenizer.js';

/** The texts of a document, for learning a vocabulary. */
export function documentText(document: Document): string[] {
  if ('text' in document) return [document.text];
  if ('messages' in document) return document.messages.map(({ content }) => content);
  return [document.question, document.response];
}

/** A document as token ids, from begin-of-text to end-of-text. */
export function encodeDocument(tokenizer: Tokenizer, document: Document): number[] {
  if ('text' in document) {
    return [tokenizer.special_id('bos'), ...tokenizer.encode(document.text), tokenizer.special_id('eos')];
  }
  if ('messages' in document) return renderMessages(tokenizer, document.messages);
  return renderDocument(tokenizer, document.question, document.response);
}
