import { checkTrace } from '../reward/check-trace.js';
import { plainVisible } from '../util/visible.js';
import type { Layer } from './explain-marks.js';
import type { ExplainedSample } from './explain-sample.js';
import { EXPLAIN_WORDS, type ExplainLanguage } from './explain-words.js';

/** What both the terminal and the page say of a sample beside the marked response, in the same words. */
export interface Explanation {
  readonly rules: readonly (readonly string[])[];
  /** Empty when no rule judged steps. The last column is text of the response. */
  readonly steps: readonly (readonly string[])[];
  readonly sum: string;
  readonly exact: boolean;
  /** Name and text of further lines. */
  readonly context: readonly (readonly [name: string, text: string])[];
}

/** @param fresh the trace was made just now: there is no stored reward to compare with */
export function explanationOf(
  sample: ExplainedSample,
  layers: readonly Layer[],
  language: ExplainLanguage,
  fresh = false,
): Explanation {
  const words = EXPLAIN_WORDS[language];
  const { trace, response, stepAdvantages } = sample;
  const letterOf = new Map(layers.map(({ rule, letter }) => [rule, letter]));
  const rules = trace.parts.map(({ name, weight, points, status, note }, i) => [
    layers[i]?.letter ?? '',
    name,
    String(weight),
    String(points),
    String(weight * points),
    status,
    note ?? '',
  ]);
  const steps = (trace.steps ?? []).map(({ rule, points, span: [start, end] }, i) => [
    `${letterOf.get(rule) ?? ''}${i + 1}`,
    rule,
    String(points),
    stepAdvantages?.[i] === undefined ? '' : shortNumber(stepAdvantages[i] as number),
    response.slice(start, end).replace(/\s+/g, ' '),
  ]);
  const { sum, exact } = checkTrace(trace);
  const terms = trace.parts.map(({ weight, points }) => String(weight * points));
  const shown = terms.length > 1 ? `${terms.join(' + ').replaceAll('+ -', '− ')} = ${sum}` : String(sum);
  return {
    rules,
    steps,
    sum: !exact ? words.inexact(shown, String(trace.total)) : fresh ? words.fresh(shown) : words.exact(shown),
    exact,
    context: contextOf(sample, language),
  };
}

function contextOf(sample: ExplainedSample, language: ExplainLanguage): [string, string][] {
  const words = EXPLAIN_WORDS[language];
  const { group, advantage, trace, facts, stepAdvantages } = sample;
  const lines: [string, string][] = [];
  if (group !== undefined) {
    const { size, rank, mean, std } = group;
    lines.push([words.group, words.groupText(size, rank, shortNumber(mean), shortNumber(std))]);
  }
  if (advantage !== undefined) {
    const { config, recomputed } = group ?? {};
    if (group === undefined || config === undefined || recomputed === undefined) {
      const how = stepAdvantages === undefined ? '' : ` (${words.advantageMean})`;
      lines.push([words.advantage, `${shortNumber(advantage)}${how}`]);
    } else {
      const below = config.scale === 'none' ? '' : ` / (${shortNumber(group.std)} + ${shortNumber(config.epsilon)})`;
      const formula =
        group.std === 0
          ? words.noSpread
          : `(${shortNumber(trace.total)} − ${shortNumber(group.mean)})${below} = ${shortNumber(recomputed)}`;
      const same = recomputed === advantage ? words.same : words.mismatch(String(advantage));
      lines.push([words.advantage, `${formula}${language === 'zh' ? '，' : ', '}${same}`]);
    }
  }
  if (facts.length > 0) lines.push([words.facts, facts.map(([name, value]) => `${name} ${value}`).join(', ')]);
  return lines;
}

/** Whether the advantage is what its group makes it; null where that cannot be told. */
export function advantageHolds({ group, advantage }: ExplainedSample): boolean | null {
  return group?.recomputed === undefined || advantage === undefined ? null : group.recomputed === advantage;
}

function shortNumber(value: number): string {
  return String(Number(value.toPrecision(6)));
}

/** A heading line: where the sample comes from. */
export function placeLine({ place, step, language }: ExplainedSample, spoken: ExplainLanguage): string {
  const when = step === undefined ? '' : ` · ${EXPLAIN_WORDS[spoken].step} ${step}`;
  return plainVisible(`${place}${when}${language === undefined ? '' : ` · ${language}`}`);
}
