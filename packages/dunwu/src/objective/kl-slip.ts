import type { KlEstimator } from './kl.js';

/**
 * The lecture notes' variant of the KL formula, a slip of the pen, kept here to be measured and nowhere else:
 *
 *     (π_ref/π_θ) · [log(π_ref/π_θ) − 1]
 *
 * It is no divergence: where π_θ = π_ref it is 1 · (0 − 1) = −1, not 0. In expectation over samples of π_θ it is
 * KL(π_ref ‖ π_θ) − 1. It reads like k3 with the brackets opened too early: π_ref/π_θ − [log(π_ref/π_θ)] − 1.
 */
export const NOTES_SLIP: KlEstimator = {
  needs: 'referenceLogprobs',
  perToken: ({ logprobs, referenceLogprobs }) => {
    if (referenceLogprobs === null) throw new Error('notes-slip: referenceLogprobs is null');
    const d = referenceLogprobs.detach().sub(logprobs);
    return d.exp().mul(d.sub(1));
  },
};
