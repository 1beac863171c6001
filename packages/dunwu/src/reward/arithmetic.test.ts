import Fraction from 'fraction.js';
import { describe, expect, it } from 'vitest';
import { type ArithmeticToken, evaluate, MAX_DEPTH, MAX_TOKENS, type Operator } from './arithmetic.js';

function tokens(text: string): ArithmeticToken[] {
  return (text.match(/\d+(?:\.\d+)?%?|[-+*/^()]/g) ?? []).map((part): ArithmeticToken => {
    if (part === '(') return { kind: 'open' };
    if (part === ')') return { kind: 'close' };
    if (/^[-+*/^]$/.test(part)) return { kind: 'operator', operator: part as Operator };
    return { kind: 'number', value: new Fraction(part.replace('%', '')), percent: part.endsWith('%') };
  });
}

describe('evaluate', () => {
  it.each([
    ['1+2*3', '7'],
    ['(1+2)*3', '9'],
    ['10-3-2', '5'],
    ['24/4/2', '3'],
    ['1/3+1/6', '1/2'],
    ['0.1+0.2', '3/10'],
    ['2^3^2', '512'],
    ['-2^2', '-4'],
    ['(-2)^3', '-8'],
    ['2^(-2)', '1/4'],
    ['3*-2', '-6'],
    ['20%*50', '10'],
    ['1/0', null],
    ['0^(-1)', null],
    ['2^(1/2)', null],
    ['2^65', null],
    ['1+', null],
    ['(1+2', null],
    ['1+2)', null],
    ['1 2', null],
    ['', null],
  ])('%s = %s', (text, value) => {
    expect(evaluate(tokens(text))?.toFraction() ?? null).toBe(value);
  });

  it('reads percent signs as digits when told so', () => {
    expect(evaluate(tokens('20%+5%'), 'digits')?.toFraction()).toBe('25');
  });

  it('refuses what passes its limits', () => {
    expect(evaluate(tokens('9^64^2'))).toBeNull();
    expect(evaluate(tokens(`${'('.repeat(MAX_DEPTH + 1)}1${')'.repeat(MAX_DEPTH + 1)}`))).toBeNull();
    expect(evaluate(tokens(`${'1+'.repeat(MAX_TOKENS)}1`))).toBeNull();
    expect(evaluate(tokens('((9^64)*(9^64)*(9^64))^64'))).toBeNull();
  });
});
