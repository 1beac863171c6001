import { z } from 'zod';
import { readJsonl } from '../util/jsonl.js';

/** Two responses to one prompt, the better one first. */
export interface PreferencePair {
  /** `file:line`. */
  readonly where: string;
  readonly prompt: string;
  readonly chosen: string;
  readonly rejected: string;
}

/** A response with its label. */
export interface SafetyLabel {
  /** `file:line`. */
  readonly where: string;
  readonly prompt: string;
  readonly response: string;
  readonly safe: boolean;
}

const pair = z.object({ prompt: z.string(), chosen: z.string(), rejected: z.string() });
const label = z.object({ prompt: z.string(), response: z.string(), safe: z.boolean() });

/**
 * Preference pairs, one JSON object a line: prompt, chosen, rejected; other keys are passed over.
 * @throws Error naming file:line, the key, what is there and what was expected; and for a file without rows.
 */
export function readPreferences(path: string): PreferencePair[] {
  return readRows(path, pair, '{"prompt", "chosen", "rejected"}, all texts');
}

/** Safety labels, one JSON object a line: prompt, response, safe. As readPreferences. */
export function readSafetyLabels(path: string): SafetyLabel[] {
  return readRows(path, label, '{"prompt", "response"}, texts, and "safe", true or false');
}

function readRows<T extends object>(path: string, schema: z.ZodType<T>, expected: string): (T & { where: string })[] {
  const rows: (T & { where: string })[] = [];
  for (const { value, number } of readJsonl(path)) {
    const where = `${path}:${number}`;
    const result = schema.safeParse(value);
    if (!result.success) {
      const issue = result.error.issues[0];
      const key = issue?.path.join('.') ?? '';
      throw new Error(`${where}: ${key === '' ? '' : `"${key}": `}${issue?.message}; expected ${expected}`);
    }
    rows.push({ where, ...result.data });
  }
  if (rows.length === 0) throw new Error(`${path}: there are no rows; expected ${expected}, one object a line`);
  return rows;
}
