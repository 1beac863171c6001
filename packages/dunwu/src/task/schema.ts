import { z } from 'zod';

/** `[low, high]`, both ends included. */
export const range = (min: number, max: number) =>
  z
    .tuple([z.int().min(min).max(max), z.int().min(min).max(max)])
    .refine(([low, high]) => low <= high, { error: 'expected [low, high] with low not above high' });

const weight = z.number().min(0);

const someWeight = (weights: Readonly<Record<string, number>>): boolean => Object.values(weights).some((w) => w > 0);

/** Relative weights. What is left out has weight 0, so naming two operations means these two and no other. */
export const operationWeights = z
  .strictObject({
    add: weight.default(0),
    sub: weight.default(0),
    mul: weight.default(0),
    div: weight.default(0),
  })
  .refine(someWeight, { error: 'at least one operation needs a weight above 0' });

/** Relative weights; a language left out has weight 0. */
export const languageWeights = z
  .strictObject({ en: weight.default(0), zh: weight.default(0) })
  .refine(someWeight, { error: 'at least one language needs a weight above 0' });

/** "a.b: message; c: message", for people. */
export function describeIssues(error: z.ZodError): string {
  return error.issues
    .map((issue) => `${issue.path.length > 0 ? `${issue.path.map(String).join('.')}: ` : ''}${issue.message}`)
    .join('; ');
}
