import { describe, expect, it } from 'vitest';
import { Random } from '../util/random.js';
import { finalPart, finalSpan, TAG_NAMES } from './tags.js';

describe('finalPart', () => {
  it.each([
    ['<think>hm</think><answer>42</answer>', '42'],
    ['<think>hm</think><answer> 42\n</answer> bye', ' 42\n'],
    ['<think>hm</think>It is 42.', 'It is 42.'],
    ['It is 42.', 'It is 42.'],
    ['', ''],
    ['<answer></answer>rest', ''],
    ['<think>hm</think>', ''],
    // A thought that talks about an answer is no answer; only where none follows it counts.
    ['<think>maybe <answer>1</answer></think><answer>2</answer>', '2'],
    ['<think>hm <answer>1</answer></think>', '1'],
    ['<think>a</think>b</think>c', 'c'],
    ['<think>a</think><answer>1</answer><answer>2</answer>', '1'],
    // Not closed: what follows the thought, or everything.
    ['<think>a</think><answer>42', '<answer>42'],
    ['<think>cut off in the mid', '<think>cut off in the mid'],
    ['</answer>42<answer>', '</answer>42<answer>'],
    // Only the exact spelling is a tag.
    ['<think>x</ think><Answer>1</Answer>', '<think>x</ think><Answer>1</Answer>'],
    ['<think>想</think><answer>四十二😀</answer>', '四十二😀'],
  ])('%j → %j', (response, expected) => {
    expect(finalPart(response)).toBe(expected);
  });

  it('of any string: a part of it that holds no whole answer', () => {
    const rng = new Random('tags');
    const pieces = [...TAG_NAMES, 'a', '<', '\ud83d', '\n', '</think', '答案'];
    for (let i = 0; i < 2000; i++) {
      const response = Array.from({ length: rng.int(0, 9) }, () => rng.choice(pieces)).join('');
      const [start, end] = finalSpan(response);
      expect(0 <= start && start <= end && end <= response.length, response).toBe(true);
      expect(finalPart(response), response).not.toMatch(/<answer>[^<]*<\/answer>/);
    }
  });
});
