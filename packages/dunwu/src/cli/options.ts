import { UsageError } from './errors.js';

/** Parsers of option values for commander. @throws UsageError that names the option, what was given and what is allowed */

export function wholeNumber(option: string, least: number, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= least && value <= most) return value;
    const upTo = most === Number.MAX_SAFE_INTEGER ? '' : ` and ≤ ${most}`;
    throw new UsageError(`${option} ${text}: a whole number ≥ ${least}${upTo} is needed`);
  };
}

/** A number with `low` ≤ (or <, when `open`) number ≤ `high`. */
export function realNumber(
  option: string,
  low: number,
  high = Number.POSITIVE_INFINITY,
  open = false,
): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && Number.isFinite(value) && (open ? value > low : value >= low) && value <= high) {
      return value;
    }
    const upper = high === Number.POSITIVE_INFINITY ? '' : ` and ≤ ${high}`;
    throw new UsageError(`${option} ${text}: a number ${open ? '>' : '≥'} ${low}${upper} is needed`);
  };
}
