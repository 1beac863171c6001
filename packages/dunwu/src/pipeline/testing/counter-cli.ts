import { z } from 'zod';
import { runCli } from '../../cli/program.js';
import { counterKind } from './counter-kind.js';

// The product's command line with the test's own kind of stage.
process.exitCode = await runCli(process.argv.slice(2), {
  parts: async () => ({ kinds: [counterKind], taskSchema: z.looseObject({}).optional() }),
});
