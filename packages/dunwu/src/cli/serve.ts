import type { Server } from 'node:http';
import { freemem } from 'node:os';
import path from 'node:path';
import type { Command } from 'commander';
import { errorCode } from '../util/errors.js';
import { UsageError } from './errors.js';
import { findModel, requireTokenizer } from './model-folder.js';
import { openModel } from './open-model.js';
import {
  type AdapterFlag,
  adapterOption,
  collect,
  type DeviceFlag,
  deviceOption,
  type TypeFlag,
  typeOption,
  wholeNumber,
} from './options.js';

interface ServeFlags extends AdapterFlag, DeviceFlag, TypeFlag {
  readonly port: number;
  readonly host: string;
  readonly name?: string;
  readonly token?: string;
  readonly origin: readonly string[];
  readonly rows: number;
  readonly cacheTokens?: number;
  readonly queue: number;
  readonly timeout: number;
}

const LOOPBACK = ['127.0.0.1', '::1', 'localhost'];

/** `dunwu serve MODEL`: OpenAI's API over a model. */
export function registerServe(program: Command): void {
  typeOption(deviceOption(adapterOption(program.command('serve'))))
    .summary("a model behind OpenAI's API")
    .description(
      "Serves a model: /v1/chat/completions, /v1/completions and /v1/models as OpenAI's API has them, streaming or not. What\n" +
        "the model thinks comes as reasoning_content, apart from the answer, as in DeepSeek's API. Many requests are decoded side\n" +
        'by side; those for which there is no room wait. Listens on this machine alone, unless --host says otherwise: then a\n' +
        'token is needed, as --token or in DUNWU_TOKEN.',
    )
    .argument('<model>', "a model's folder (with tokenizer.json), or a run folder: then its last model")
    .option('--port <n>', 'port; 0 takes a free one', wholeNumber('--port', 0, 65535), 8000)
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--name <name>', "what clients call the model (default: its folder's name)")
    .option('--token <text>', 'clients must send it: Authorization: Bearer … (default: $DUNWU_TOKEN, if it is set)')
    .option(
      '--origin <url>',
      'a web page whose scripts may ask, such as http://localhost:3000 (repeatable)',
      collect,
      [],
    )
    .option('--rows <n>', 'sequences decoded side by side', wholeNumber('--rows', 1, 4096), 64)
    .option(
      '--cache-tokens <n>',
      'tokens that all of them may hold together (default: 8 full sequences, on the CPU no more than half of the free memory holds)',
      wholeNumber('--cache-tokens', 1),
    )
    .option('--queue <n>', 'requests that may wait for room', wholeNumber('--queue', 1), 256)
    .option('--timeout <s>', 'longest time for a request, in seconds', wholeNumber('--timeout', 1, 86400), 600)
    .addHelpText(
      'after',
      `
Examples:
  dunwu serve runs/r1-mini
  curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{"model": "r1", "messages": [{"role": "user", "content": "Anna has 19 pens. #1 gets 8. How many?"}]}'
  DUNWU_TOKEN=secret dunwu serve my-model --host 0.0.0.0 --port 80`,
    )
    .action(serveCommand);
}

/**
 * Tokens that the cache may hold unless told: eight texts as long as the model takes, if they fit into half of the memory that is free.
 * The cache is only filled as it is used: what does not fit would not be noticed before it is too late.
 */
export function cacheTokens(device: string, positions: number, bytesEach: number, free = freemem()): number {
  const wanted = 8 * positions;
  return device === 'cpu' ? Math.max(1, Math.min(wanted, Math.floor(free / 2 / bytesEach))) : wanted;
}

async function serveCommand(given: string, flags: ServeFlags): Promise<void> {
  const token = flags.token ?? (process.env.DUNWU_TOKEN === '' ? undefined : process.env.DUNWU_TOKEN);
  if (token === '')
    throw new UsageError('--token: is empty: anybody could use the model; give a text, or leave it out');
  const local = LOOPBACK.includes(flags.host);
  if (!local && token === undefined) {
    throw new UsageError(
      `--host ${flags.host}: whoever reaches this address could use the model: give --token, or DUNWU_TOKEN`,
    );
  }
  for (const origin of flags.origin) {
    if (URL.canParse(origin) && new URL(origin).origin === origin) continue;
    throw new UsageError(`--origin ${origin}: expected scheme, name and port, such as http://localhost:3000`);
  }
  const { folder } = await findModel(given);
  requireTokenizer(folder, 'a model reads and writes text through its tokenizer');
  const [
    { tokenizer, load, stopIds },
    { checkChatTemplate },
    { decoderType },
    { tokenBytes },
    { ContinuousEngine },
    { createApp },
    { serve },
  ] = await Promise.all([
    openModel(folder, flags),
    import('../text/chat-prompt.js'),
    import('../model/decoder.js'),
    import('../model/paged-cache.js'),
    import('../rollout/continuous-engine.js'),
    import('../serve/app.js'),
    import('@hono/node-server'),
  ]);
  checkChatTemplate(tokenizer);
  const model = load();
  const positions = model.config.max_position_embeddings;
  const maxTokens =
    flags.cacheTokens ?? cacheTokens(model.device, positions, tokenBytes(model.config, decoderType(model)));
  const engine = new ContinuousEngine(model, { maxRows: flags.rows, maxTokens });
  const name = flags.name ?? path.basename(path.resolve(folder));
  const app = createApp(
    engine,
    { name, tokenizer, stop: stopIds(model), positions },
    {
      ...(token === undefined ? {} : { token }),
      // On this machine alone only names of this machine are answered, so that no web page can make its own name point here.
      hosts: local ? ['127.0.0.1', 'localhost', '[::1]'] : null,
      origins: flags.origin,
      queue: flags.queue,
      timeoutMs: 1000 * flags.timeout,
    },
  );
  const server = await new Promise<Server>((resolve, reject) => {
    const listening = serve({ fetch: app.fetch, port: flags.port, hostname: flags.host }, () =>
      resolve(listening as Server),
    ) as Server;
    listening.on('error', (error) => {
      const code = errorCode(error);
      const why =
        code === 'EADDRINUSE'
          ? `port ${flags.port} is taken: give another --port (0 takes a free one)`
          : code === 'EACCES'
            ? `port ${flags.port} may not be used: give another --port`
            : code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND'
              ? `--host ${flags.host} is no address of this machine`
              : error.message;
      reject(new UsageError(why));
    });
  });
  const at = server.address();
  const port = typeof at === 'object' && at !== null ? at.port : flags.port;
  process.stdout.write(
    `${name} at http://${flags.host.includes(':') ? `[${flags.host}]` : flags.host}:${port}/v1 · Ctrl-C ends it\n`,
  );
  await new Promise<void>((resolve) => {
    const stop = (): void => {
      server.close(() => resolve());
      // Who is being answered may finish, but not for ever.
      setTimeout(() => server.closeAllConnections(), 5000).unref();
      server.closeIdleConnections();
    };
    process.once('SIGINT', stop);
    process.once('SIGTERM', stop);
  });
  model.dispose();
}
