import { errorText, isOutOfMemory, UsageError } from '../util/errors.js';

export { UsageError };

/** What `dunwu` exits with. */
export const EXIT = { done: 0, failed: 1, usage: 2, waiting: 3, interrupted: 130 } as const;

/** One clear message; the stack, causes included, only with DUNWU_DEBUG=1. */
export function errorMessage(error: unknown, env: NodeJS.ProcessEnv): string {
  const debug = env.DUNWU_DEBUG === '1';
  const lines = [`error: ${errorText(error)}`];
  if (isOutOfMemory(error)) {
    lines.push(
      'hold less at one time: in a recipe micro_batch_tokens or packing.batch; --batch, --rows or --cache-tokens',
    );
  }
  if (debug) {
    for (let cause = error; cause instanceof Error; cause = cause.cause) lines.push(cause.stack ?? String(cause));
  } else if (!(error instanceof UsageError)) lines.push('(DUNWU_DEBUG=1 shows where it happened)');
  return lines.join('\n');
}

export function exitCode(error: unknown): number {
  return error instanceof UsageError ? EXIT.usage : EXIT.failed;
}
