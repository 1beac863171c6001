/**
 * GPT-2's byte alphabet: every byte written as one printable character, so that a vocabulary of byte strings can be
 * stored as text. Printable Latin-1 bytes stand for themselves, the other 68 are moved to U+0100 and above, in order.
 */

/** byte → its character. */
export const BYTE_TO_CHAR: readonly string[] = (() => {
  const table: string[] = [];
  let moved = 0;
  for (let byte = 0; byte < 256; byte++) {
    const printable =
      (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
    table.push(String.fromCharCode(printable ? byte : 256 + moved++));
  }
  return table;
})();

/** character → its byte. */
export const CHAR_TO_BYTE: ReadonlyMap<string, number> = new Map(BYTE_TO_CHAR.map((char, byte) => [char, byte]));

/** The 256 characters in code-point order: the order in which Hugging Face's trainer gives them ids. */
export const BYTE_ALPHABET: readonly string[] = [...BYTE_TO_CHAR].sort((a, b) => a.charCodeAt(0) - b.charCodeAt(0));

const utf8 = new TextEncoder();

/** The UTF-8 bytes of a text, in the byte alphabet. A lone surrogate becomes U+FFFD, as UTF-8 demands. */
export function toByteChars(text: string): string {
  let out = '';
  for (const byte of utf8.encode(text)) out += BYTE_TO_CHAR[byte];
  return out;
}

/**
 * The bytes that a token of a byte-level vocabulary stands for. A token that is not written in the byte alphabet
 * (an added token such as `<｜User｜>`) stands for its own UTF-8 bytes.
 */
export function tokenBytes(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = CHAR_TO_BYTE.get(token[i] as string);
    if (byte === undefined) return utf8.encode(token);
    bytes[i] = byte;
  }
  return bytes;
}
