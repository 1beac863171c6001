/** A gradient that is zero or not finite means that training "runs" and nothing is learnt: stop and say so. */
export function checkGradient(norm: number, step: number): void {
  requireFinite([norm], step);
  if (step === 1 && norm === 0) {
    throw new Error('step 1: the gradient is exactly zero: nothing would be learnt. Is every target masked out?');
  }
}

/** For where a gradient of zero is no fault. @param norms of the step's updates */
export function requireFinite(norms: readonly number[], step: number): void {
  const broken = norms.find((norm) => !Number.isFinite(norm));
  if (broken === undefined) return;
  throw new Error(
    `step ${step}: the gradient norm is ${broken}; the weights of the last checkpoint are unharmed. ` +
      'Lower the learning rate, or look for a division by zero in a new loss or reward',
  );
}
