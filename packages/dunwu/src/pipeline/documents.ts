import type { Document } from '../data/document.js';
import type { TokenDocument } from '../data/packing.js';
import { renderDocument, renderMessages, renderPrompt } from '../text/template.js';
import type { Tokenizer } from '../text/tokenizer.js';

/** The texts of a document, for learning a vocabulary. */
export function documentText(document: Document): string[] {
  if ('text' in document) return [document.text];
  if ('messages' in document) return document.messages.map(({ content }) => content);
  return [document.question, document.response];
}

/**
 * A document as token ids, from begin-of-text to end-of-text, with the loss weight of predicting each: `promptWeight` in
 * the question of a dialogue, 1 everywhere else.
 */
export function encodeDocument(tokenizer: Tokenizer, document: Document, promptWeight = 1): TokenDocument {
  if ('text' in document) {
    const { bos } = tokenizer.special;
    const start = bos === undefined ? [] : [bos];
    return { tokens: [...start, ...tokenizer.encode(document.text), tokenizer.special_id('eos')] };
  }
  if ('messages' in document) return { tokens: renderMessages(tokenizer, document.messages) };
  const tokens = renderDocument(tokenizer, document.question, document.response);
  if (promptWeight === 1) return { tokens };
  const prompt = renderPrompt(tokenizer, document.question).length;
  return { tokens, mask: tokens.map((_, i) => (i < prompt ? promptWeight : 1)) };
}
