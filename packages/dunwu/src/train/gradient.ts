/** A gradient that is zero or not finite means that training "runs" and nothing is learnt: stop and say so. */
export function checkGradient(norm: number, step: number): void {
  if (!Number.isFinite(norm)) {
    throw new Error(
      `step ${step}: the gradient norm is ${norm}; the weights of the last checkpoint are unharmed. ` +
        'Lower the learning rate, or look for a division by zero in a new loss or reward',
    );
  }
  if (step === 1 && norm === 0) {
    throw new Error('step 1: the gradient is exactly zero: nothing would be learnt. Is every target masked out?');
  }
}
