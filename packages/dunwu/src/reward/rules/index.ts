import type { z } from 'zod';
import type { Rule } from '../trace.js';
import { accuracyOptions, accuracyRule } from './accuracy.js';
import { codeOptions, codeRule } from './code.js';
import { formatRule } from './format.js';
import { instructionOptions, instructionRule } from './instruction.js';
import { languageOptions, languageRule } from './language.js';
import { lengthOptions, lengthRule } from './length.js';
import { readabilityOptions, readabilityRule } from './readability.js';
import { repetitionOptions, repetitionRule } from './repetition.js';
import { stepsOptions, stepsRule } from './steps.js';

/** How a rule is made from the options that a recipe gives it. Add a rule: write it beside these, and name it here. */
export interface RuleDefinition {
  /** Strict: an option that it does not know is an error. */
  readonly options: z.ZodType;
  create(options: unknown): Rule;
  /** Where it comes from, when it is not built in. */
  readonly origin?: string;
}

/** Parses twice what needs it only once, for the sake of types: `create` is called when a program is built, not per response. */
function define<Schema extends z.ZodType>(options: Schema, create: (options: z.input<Schema>) => Rule): RuleDefinition {
  return { options, create: (given) => create(given as z.input<Schema>) };
}

export const RULES = {
  format: define(languageOptions, formatRule),
  accuracy: define(accuracyOptions, accuracyRule),
  steps: define(stepsOptions, stepsRule),
  language: define(languageOptions, languageRule),
  length: define(lengthOptions, lengthRule),
  repetition: define(repetitionOptions, repetitionRule),
  readability: define(readabilityOptions, readabilityRule),
  instruction: define(instructionOptions, instructionRule),
  code: define(codeOptions, codeRule),
} as const satisfies Record<string, RuleDefinition>;

export type RuleName = keyof typeof RULES;
export const RULE_NAMES = Object.keys(RULES) as RuleName[];

const added = new Map<string, RuleDefinition>();

/** Adds a rule that is not built in: see user-rules.ts. */
export function setRule(name: string, definition: RuleDefinition): void {
  added.set(name, definition);
}

/** A built-in or added rule, or undefined. */
export function ruleOf(name: string): RuleDefinition | undefined {
  return Object.hasOwn(RULES, name) ? RULES[name as RuleName] : added.get(name);
}

/** Names of all rules that there are now, the built-in ones first. */
export function ruleNames(): string[] {
  return [...RULE_NAMES, ...added.keys()];
}

const READING_GOLD: readonly string[] = ['accuracy', 'steps', 'code'] satisfies RuleName[];

/** Whether a rule looks at a problem's gold answer, or its tests; a user's own rule may. */
export function readsGold(name: string): boolean {
  return READING_GOLD.includes(name) || added.has(name);
}

/** Whether a rule's results may have `steps`; of a user's own rule nobody knows before it is run. */
export function mayGiveSteps(name: string): boolean {
  return name === 'steps' || added.has(name);
}
