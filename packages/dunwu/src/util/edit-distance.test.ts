import { expect, test } from 'vitest';
import { didYouMean, editDistance } from './edit-distance.js';

test('distances worked out by hand', () => {
  expect(editDistance('', 'abc')).toBe(3);
  expect(editDistance('kitten', 'sitting')).toBe(3);
  expect(editDistance('stpes', 'steps')).toBe(1); // one swap
  expect(editDistance('same', 'same')).toBe(0);
  expect(editDistance('温度', '温')).toBe(1);
});

test('suggests only what is near', () => {
  expect(didYouMean('stpes', ['seed', 'steps', 'name'])).toBe('steps');
  expect(didYouMean('Learning_rate', ['learning_rate'])).toBe('learning_rate');
  expect(didYouMean('temperature', ['steps', 'seed'])).toBeUndefined();
  expect(didYouMean('lr', ['kl', 'x'])).toBeUndefined();
});
