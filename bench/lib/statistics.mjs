/** Middle value; of an even count the mean of the two in the middle. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) throw new Error('median of no values');
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** @returns {{ median: number, min: number, max: number }} */
export function summary(values) {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** How many times better ours is: above 1 is better for ours, whichever way the unit points. */
export function advantage(ours, theirs, moreIsBetter) {
  return moreIsBetter ? ours / theirs : theirs / ours;
}

/** Summary of the advantage in each round, a round's value being the median of its samples. */
export function roundAdvantage(ours, theirs, moreIsBetter) {
  const rounds = Math.min(ours.length, theirs.length);
  return summary(Array.from({ length: rounds }, (_, i) => advantage(median(ours[i]), median(theirs[i]), moreIsBetter)));
}
