import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { compareMaths } from './equality.js';

it.each(['maths.md', 'maths.zh.md'])('%s: its tables say what the code says', (name) => {
  const text = readFileSync(new URL(`../../../../../docs/${name}`, import.meta.url), 'utf8');
  const [, equal = '', different = ''] = text.split('\n## ');
  const rows = (part: string) => [...part.matchAll(/^\| [^|]+ \| `([^`|]+)` \| `([^`|]+)` \|$/gm)];
  expect([rows(equal).length, rows(different).length]).toEqual([26, 14]);
  for (const [line, gold = '', answer = ''] of rows(equal)) {
    expect([line, compareMaths(gold, answer)]).toEqual([line, 'equal']);
  }
  for (const [line, gold = '', answer = ''] of rows(different)) {
    expect([line, compareMaths(gold, answer)]).toEqual([line, 'different']);
  }
});
