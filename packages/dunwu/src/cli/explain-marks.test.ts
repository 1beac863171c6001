import { describe, expect, it } from 'vitest';
import type { Trace } from '../reward/trace.js';
import { layersOf, segmentsOf } from './explain-marks.js';

const part = (name: string, evidence: [number, number][], status: 'ok' | 'wrong' = 'ok') => ({
  name,
  weight: 1,
  points: status === 'ok' ? 1 : 0,
  max: 1,
  status,
  evidence,
});

describe('layersOf', () => {
  it('gives every rule a letter of its own', () => {
    const trace: Trace = {
      total: 0,
      parts: ['steps', 'status', 'style', '规则', 'a', 's'].map((name) => part(name, [])),
    };
    expect(layersOf(trace).map(({ letter }) => letter)).toEqual(['S', 'T', 'Y', 'A', 'B', 'C']);
  });

  it('takes steps before evidence, sorts, and leaves out what has no length', () => {
    const trace: Trace = {
      total: 0,
      parts: [
        part('steps', [[0, 9]]),
        part(
          'language',
          [
            [6, 8],
            [2, 2],
            [1, 3],
          ],
          'wrong',
        ),
      ],
      steps: [
        { span: [4, 6], points: 0, rule: 'steps' },
        { span: [0, 3], points: 1, rule: 'steps' },
      ],
    };
    const [steps, language] = layersOf(trace);
    expect(steps?.marks).toEqual([
      { span: [0, 3], good: true, points: 1 },
      { span: [4, 6], good: false, points: 0 },
    ]);
    expect(language?.marks).toEqual([
      { span: [1, 3], good: false },
      { span: [6, 8], good: false },
    ]);
  });
});

describe('segmentsOf', () => {
  const cut = (length: number, ...spans: [number, number][][]): string[] =>
    segmentsOf(length, layersOf({ total: 0, parts: spans.map((list, i) => part(`r${i}`, list)) })).map(
      ({ start, end, covering }) => `${start}-${end} ${covering.map(({ layer }) => layer.index).join('')}`.trim(),
    );

  it('cuts where marks begin and end, and tells which cover', () => {
    expect(cut(10, [[2, 6]], [[4, 8]], [[0, 10]])).toEqual(['0-2 2', '2-4 02', '4-6 012', '6-8 12', '8-10 2']);
    expect(
      cut(5, [
        [0, 2],
        [2, 4],
      ]),
    ).toEqual(['0-2 0', '2-4 0', '4-5']);
    expect(cut(3)).toEqual(['0-3']);
    expect(cut(0)).toEqual([]);
  });
});
