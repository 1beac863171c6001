import { describe, expect, it } from 'vitest';
import { chineseInteger, findNumbers, readNumber, sameNumber } from './number.js';

function read(text: string): string | null {
  const token = readNumber(text);
  return token
    ? `${token.value.toFraction()}${token.percent ? '%' : ''}${token.scale ? ` x${token.scale}` : ''}`
    : null;
}

describe('readNumber: a whole string is one number', () => {
  it.each([
    ['18', '18'],
    ['+18', null],
    ['18.', '18'],
    ['18.50', '37/2'],
    ['.5', '1/2'],
    ['1,234', '1234'],
    ['1，234', '1234'],
    ['1{,}000', '1000'],
    ['1\\,000', '1000'],
    ['12,34', null],
    ['$18', '18'],
    ['\\$18', '18'],
    ['-$5', '-5'],
    ['$-5', '-5'],
    ['¥18', '18'],
    ['€18', '18'],
    ['£18', '18'],
    ['5%', '5%'],
    ['５％', '5%'],
    ['5 percent', '5%'],
    ['3/4', '3/4'],
    ['1 1/2', '3/2'],
    ['1又1/2', '3/2'],
    ['\\frac{3}{4}', '3/4'],
    ['\\dfrac{3}{4}', '3/4'],
    ['\\tfrac34', '3/4'],
    ['-\\frac{3}{4}', '-3/4'],
    ['3/0', null],
    ['−5', '-5'],
    ['－5', '-5'],
    ['１８', '18'],
    ['18 km', '18'],
    ['18元', '18'],
    ['18个', '18'],
    ['18 square feet', '18'],
    ['18 m^2', '18'],
    ['三', '3'],
    ['十二', '12'],
    ['两百', '200'],
    ['三百二十', '320'],
    ['十二点五', '25/2'],
    ['负五', '-5'],
    ['三分之二', '2/3'],
    ['3分之2', '2/3'],
    ['twenty-five', '25'],
    ['two hundred and five', '205'],
    ['1.5e3', '1500'],
    ['3×10^5', '300000'],
    ['3 \\times 10^{-2}', '3/100'],
    ['2 million', '2 x1000000'],
    ['2万', '2 x10000'],
    ['2千克', '2'],
    ['½', '1/2'],
    ['1½', '3/2'],
    ['3:4', '3/4'],
    ['', null],
    ['x', null],
    ['18 20', null],
    ['3π', null],
    ['-', null],
    ['1'.repeat(61), null],
    ['constructor', null],
    ['one constructor', '1'],
  ])('%j → %s', (text, value) => {
    expect(read(text)).toBe(value);
  });
});

describe('findNumbers', () => {
  it.each([
    ['80-21=59', ['80', '21', '59']],
    ['from -5 to 5', ['-5', '5']],
    ['16 - 3 = 13', ['16', '3', '13']],
    ['= -5, = - 6', ['-5', '-6']],
    ['x1, H2O, m^2, a_3, CO2', []],
    ['3x18=54', ['3', '18', '54']],
    ['2020-05-01', ['2020', '5', '1']],
    ['3/4/2020', ['3', '4', '2020']],
    ['1.2.3', ['6/5', '3'].slice(0, 1)],
    ['5, 10, and 15.', ['5', '10', '15']],
    ['US$5 and RMB20', ['5', '20']],
    ['步骤1：18个', ['1', '18']],
  ])('%j → %j', (text, values) => {
    expect(findNumbers(text).map((token) => token.value.toFraction())).toEqual(values);
  });

  it('gives ranges in the source, sign and currency included', () => {
    const text = 'ａ：－＄１，０８０ and 50 %';
    expect(findNumbers(text).map((token) => text.slice(token.start, token.end))).toEqual(['－＄１，０８０', '50 %']);
  });

  it.each(['1', '1,234', '{', '\\frac{', '1/', '1:', '-', '.', '1.', '三', 'one ', '9e9'])(
    'reads a megabyte of %j in linear time',
    (piece) => {
      const text = piece.repeat(Math.ceil(1e6 / piece.length));
      const found = findNumbers(text);
      expect(readNumber(text)).toBeNull();
      expect(found.every((token) => token.end > token.start)).toBe(true);
    },
  );
});

describe('sameNumber', () => {
  it.each([
    ['18', '18.00', true],
    ['18', '36/2', true],
    ['4/6', '2/3', true],
    ['50', '50%', true],
    ['0.5', '50%', true],
    ['50%', '50%', true],
    ['50%', '50', true],
    ['50%', '0.5', true],
    ['50%', '1/2', true],
    ['50%', '0.5%', false],
    ['50%', '5000', false],
    ['2000000', '2 million', true],
    ['2', '2 million', true],
    ['2 million', '2 million', true],
    ['20000', '2万', true],
    ['2万', '3万', false],
    ['250/3', '83.33', true],
    ['250/3', '83.3', false],
    ['250/3', '83.34', false],
    ['1/3', '0.3333', true],
    ['0.33', '1/3', false],
    ['18', '18.3', false],
    ['18', '-18', false],
  ])('gold %s, answer %s: %s', (gold, answer, same) => {
    const [a, b] = [readNumber(gold), readNumber(answer)];
    if (!a || !b) throw new Error('unreadable');
    expect(sameNumber(a, b)).toBe(same);
  });
});

describe('chineseInteger', () => {
  it.each([
    ['十', 10],
    ['二十', 20],
    ['一百零五', 105],
    ['一百二', 120],
    ['两千零一十', 2010],
    ['三万五', 35000],
    ['两万零五', 20005],
    ['一亿', 1e8],
    ['一万亿', 1e12],
    ['二〇二四', 2024],
    ['百', null],
    ['三四十', null],
    ['', null],
  ])('%s → %s', (text, value) => {
    expect(chineseInteger(text)).toBe(value);
  });
});
