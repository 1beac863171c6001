/**
 * Optimal string alignment distance: insertions, deletions, replacements and swaps of neighbours, each costing 1
 * (a swap counts once, because it is the commonest slip of a typing hand).
 */
export function editDistance(a: string, b: string): number {
  const s = [...a];
  const t = [...b];
  let before: number[] = [];
  let previous = Array.from({ length: t.length + 1 }, (_, j) => j);
  for (let i = 1; i <= s.length; i++) {
    const row = [i];
    for (let j = 1; j <= t.length; j++) {
      const same = s[i - 1] === t[j - 1];
      let best = Math.min(num(previous[j]) + 1, num(row[j - 1]) + 1, num(previous[j - 1]) + (same ? 0 : 1));
      if (i > 1 && j > 1 && s[i - 1] === t[j - 2] && s[i - 2] === t[j - 1])
        best = Math.min(best, num(before[j - 2]) + 1);
      row.push(best);
    }
    before = previous;
    previous = row;
  }
  return num(previous[t.length]);
}

function num(value: number | undefined): number {
  return value ?? Number.POSITIVE_INFINITY;
}

/** The candidate nearest to `word`, if it is near enough to be a slip of it (a third of its length, at least 1). */
export function didYouMean(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = Math.max(1, Math.floor(word.length / 3)) + 0.5;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}
