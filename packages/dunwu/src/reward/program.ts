import { z } from 'zod';
import type { Problem } from '../task/problem.js';
import { didYouMean } from '../util/edit-distance.js';
import { ruleNames, ruleOf } from './rules/index.js';
import type { Part, Rule, Trace, TraceStep } from './trace.js';

/** A weight alone, or a weight and the rule's options. */
const ruleEntry = z.union([z.number().finite(), z.looseObject({ weight: z.number().finite().optional() })], {
  error: 'give a weight (a number) or an object with `weight` and the options of the rule',
});
const ruleTable = z.record(z.string(), ruleEntry);

/**
 * What a recipe says of rewards:
 *
 *     rules:   { accuracy: 1, format: 0.5, steps: { weight: 1, relative_to_gold: true } }
 *     sources: { gsm8k: { steps: 0 }, cmath: { accuracy: { weight: 2, require_tags: false } } }
 *     import:  ./my-rules.mjs
 *
 * `sources` overrides weights and options for problems of that source (N12: 数据来源不同，加权方式不同); a rule with weight 0 is
 * not run. Unknown rules, unknown options and overrides of rules that are not in `rules` are errors. `import` names files
 * of the user's own rules; whoever reads the recipe loads them (user-rules.ts: importRules) before this is parsed.
 */
export const rewardProgramConfig = z
  .strictObject({
    rules: ruleTable.refine((rules) => Object.keys(rules).length > 0, { error: 'name at least one rule' }),
    sources: z.record(z.string(), ruleTable).default({}),
    import: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]).optional(),
  })
  .superRefine((config, context) => {
    const check = (table: RuleTable, path: string[]): void => {
      for (const [name, entry] of Object.entries(table)) {
        const given = path[0] === 'sources' ? merge(config.rules[name], entry) : entry;
        if (path[0] === 'sources' && config.rules[name] === undefined) {
          context.addIssue({
            code: 'custom',
            path: [...path, name],
            message: `${name} is not among this program's rules (${Object.keys(config.rules).join(', ')})`,
          });
          continue;
        }
        const definition = ruleOf(name);
        if (definition === undefined) {
          context.addIssue({ code: 'custom', path: [...path, name], message: unknownRule(name) });
          continue;
        }
        const parsed = definition.options.safeParse(split(given).options);
        for (const issue of parsed.error?.issues ?? []) {
          context.addIssue({ code: 'custom', path: [...path, name, ...issue.path], message: issue.message });
        }
      }
    };
    check(config.rules, ['rules']);
    for (const [source, table] of Object.entries(config.sources)) check(table, ['sources', source]);
  });

type RuleEntry = z.infer<typeof ruleEntry>;
type RuleTable = z.infer<typeof ruleTable>;
export type RewardProgramConfig = z.input<typeof rewardProgramConfig>;

function unknownRule(name: string): string {
  const near = didYouMean(name, ruleNames());
  return `there is no rule \`${name}\`.${near === undefined ? '' : ` Did you mean \`${near}\`?`} Rules: ${ruleNames().join(', ')}`;
}

function split(entry: RuleEntry): { weight: number; options: Record<string, unknown> } {
  if (typeof entry === 'number') return { weight: entry, options: {} };
  const { weight = 1, ...options } = entry;
  return { weight, options };
}

function merge(base: RuleEntry | undefined, override: RuleEntry): RuleEntry {
  const from = base === undefined ? { weight: 1 } : typeof base === 'number' ? { weight: base } : base;
  return { ...from, ...(typeof override === 'number' ? { weight: override } : override) };
}

interface WeightedRule {
  readonly weight: number;
  readonly rule: Rule;
}

function build(table: RuleTable): WeightedRule[] {
  return Object.entries(table).flatMap(([name, entry]) => {
    const { weight, options } = split(entry);
    const definition = ruleOf(name);
    return weight === 0 || definition === undefined ? [] : [{ weight, rule: definition.create(options) }];
  });
}

/**
 * Rules with weights, per source; it reads a response and says how many points it gets and why. Pure and deterministic,
 * and it never throws on any response.
 */
export class RewardProgram {
  readonly #base: readonly WeightedRule[];
  readonly #sources: ReadonlyMap<string, readonly WeightedRule[]>;

  /** @throws {z.ZodError} when the config names a rule or an option that does not exist. */
  constructor(config: RewardProgramConfig) {
    const { rules, sources } = rewardProgramConfig.parse(config);
    this.#base = build(rules);
    this.#sources = new Map(
      Object.entries(sources).map(([source, table]) => {
        const merged: RuleTable = { ...rules };
        for (const [name, entry] of Object.entries(table)) {
          merged[name] = merge(rules[name], entry);
        }
        return [source, build(merged)];
      }),
    );
  }

  /** Judges one response. `total` = Σ weight · points, summed in the order of `parts`; steps in order of position. */
  score(problem: Problem, response: string): Trace {
    const parts: (Part & { weight: number })[] = [];
    const steps: TraceStep[] = [];
    let total = 0;
    let hasSteps = false;
    for (const { weight, rule } of this.#sources.get(problem.source) ?? this.#base) {
      const { steps: ruleSteps, ...part } = rule(problem, response);
      parts.push({ ...part, weight });
      total += weight * part.points;
      if (ruleSteps) {
        hasSteps = true;
        for (const step of ruleSteps) steps.push({ ...step, rule: part.name });
      }
    }
    if (!hasSteps) return { total, parts };
    return { total, parts, steps: steps.sort((a, b) => a.span[0] - b.span[0]) };
  }

  /** Largest possible total for a source: what a perfect response gets. */
  max(source: string): number {
    // Every rule's max is 1; negative weights add nothing to the best case.
    return (this.#sources.get(source) ?? this.#base).reduce((sum, { weight }) => sum + Math.max(0, weight), 0);
  }
}
