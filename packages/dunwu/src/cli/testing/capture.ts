import { vi } from 'vitest';
import { runCli } from '../program.js';

/** Runs a command line in this process and keeps what it prints. */
export async function cli(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const printed = { out: '', err: '' };
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation((data) => {
      printed[name === 'stdout' ? 'out' : 'err'] += String(data);
      return true;
    }),
  );
  try {
    const code = await runCli(argv);
    return { code, ...printed };
  } finally {
    for (const spy of spies) spy.mockRestore();
    process.exitCode = undefined;
  }
}
