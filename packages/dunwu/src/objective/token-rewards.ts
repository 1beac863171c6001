/**
 * The rewards of a response's tokens in RLHF (Ouyang et al. 2022, arXiv 2203.02155, eq. 2; Stiennon et al. 2020, arXiv
 * 2009.01325, section 3.4), with the KL penalty *in the reward*, where GRPO has it in the loss:
 *
 *     r_t = −β (log π_old(o_t | q, o_<t) − log π_ref(o_t | q, o_<t)),   and the score added at the last token
 *
 * The difference of log-probabilities is the estimator k1: unbiased for the policy that sampled. Added up over the
 * response it is score − β log(π_old(o|q)/π_ref(o|q)).
 *
 * @param logprobs log π_old of each token, at least one; `reference` log π_ref, as many
 * @throws Error when their lengths differ or there is no token.
 */
export function tokenRewards(
  score: number,
  logprobs: ArrayLike<number>,
  reference: ArrayLike<number>,
  beta: number,
): Float64Array {
  if (logprobs.length !== reference.length || logprobs.length === 0) {
    throw new Error(
      `tokenRewards: ${logprobs.length} log-probabilities of the policy and ${reference.length} of the reference`,
    );
  }
  const rewards = Float64Array.from(logprobs, (logprob, t) => -beta * (logprob - (reference[t] as number)));
  rewards[rewards.length - 1] = (rewards.at(-1) as number) + score;
  return rewards;
}
