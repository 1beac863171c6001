/**
 * The command, the recipe or an input given by the person was wrong: nothing was done, and repeating it changes
 * nothing. The command line prints the message alone and exits with code 2.
 */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** The system's error code (`ENOENT`, `ENOSPC`, …) of anything thrown, or undefined. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** Whether libtorch had no memory, of a device or of the machine. */
export function isOutOfMemory(error: unknown): boolean {
  return /out of memory|can't allocate memory/.test(errorText(error));
}

/** The message of anything thrown. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
