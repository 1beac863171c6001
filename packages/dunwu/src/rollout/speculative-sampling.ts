import { type Tensor, tensor, where } from '@dunwu/torch';
import { drawByInversion } from './sampling.js';

/** What became of a drafted token in each row. */
export interface Verdict {
  readonly accepted: readonly boolean[];
  /** The token that stands in the draft's place: the draft itself, or the one drawn in its stead. int64 [rows] */
  readonly tokens: Tensor;
}

/**
 * Speculative sampling (Leviathan et al. 2022, arXiv 2211.17192, algorithm 1 and appendix A.1). A token x drafted from q is
 * kept with probability min(1, p(x)/q(x)); otherwise another is drawn from norm(max(0, p − q)). The token that comes out is
 * distributed as p, whatever q was:
 *
 *     q(x) min(1, p(x)/q(x)) + (1 − Σ_y min(p(y), q(y))) · max(0, p(x) − q(x)) / Σ_y max(0, p(y) − q(y)) = p(x)
 *
 * @param target p, float32 [rows, vocabulary]; `drafted`: q, alike
 * @param drafts the tokens drawn from q, int64 [rows]
 * @param keep a number in [0, 1) for each row that decides whether the draft is kept; `redraw` the one that draws anew
 */
export function verifyDrafts(
  target: Tensor,
  drafted: Tensor,
  drafts: Tensor,
  keep: readonly number[],
  redraw: readonly number[],
): Verdict {
  const at = drafts.unsqueeze(-1);
  const [p, q] = [target, drafted].map((all) => all.gather(-1, at).squeeze(-1).numbers()) as [number[], number[]];
  const accepted = p.map((share, row) => (keep[row] as number) * (q[row] as number) < share);
  if (accepted.every(Boolean)) return { accepted, tokens: drafts };
  const rest = target.sub(drafted).clampMin(0);
  // Where p and q are equal but for rounding nothing is left over, and p itself is what to draw from.
  const nothing = rest.sum(-1, true).eq(0).to(target.dtype);
  const drawn = drawByInversion(rest.add(target.mul(nothing)), redraw);
  return { accepted, tokens: where(tensor(Uint8Array.from(accepted, Number)).ne(0), drafts, drawn) };
}
