import path from 'node:path';
import { namesIn } from '../util/fs.js';

/** `runs/NAME`, else `runs/NAME.2`, …: the newest one there is when resuming, else the first that is free. */
export async function defaultFolder(name: string, resume: boolean, root = 'runs'): Promise<string> {
  const names = (await namesIn(root)) ?? [];
  const numbers = names.flatMap((folder) => {
    if (folder === name) return [1];
    const rest = folder.startsWith(`${name}.`) ? folder.slice(name.length + 1) : '';
    return /^[1-9]\d*$/.test(rest) ? [Number(rest)] : []; // a recipe's name holds no dot
  });
  const newest = Math.max(0, ...numbers);
  const chosen = Math.max(1, resume ? newest : newest + 1);
  return path.join(root, chosen === 1 ? name : `${name}.${chosen}`);
}

export interface RunArguments {
  readonly file: string;
  readonly out: string;
  readonly set: readonly string[];
  readonly seed?: number;
}

/**
 * The command line that goes on with a run, to be pasted into a shell as it is. It begins as this process was begun:
 * `npm start --`, `npx dunwu run`, `dunwu run` or `node …/dunwu.js run`.
 */
export function resumeCommand(args: RunArguments, env = process.env, script = process.argv[1] ?? 'dunwu'): string {
  const words =
    env.npm_lifecycle_event === 'start' ? ['npm', 'start', '--'] : [...dunwu(env, script), 'run', args.file];
  words.push('--resume', '--out', args.out);
  for (const set of args.set) words.push('--set', set);
  if (args.seed !== undefined) words.push('--seed', String(args.seed));
  return words.map(shellQuoted).join(' ');
}

/** The command line that people decide with about the candidates of a run. */
export function curateCommand(out: string, env = process.env, script = process.argv[1] ?? 'dunwu'): string {
  return [...dunwu(env, script), 'curate', out].map(shellQuoted).join(' ');
}

/** How this process was begun. */
function dunwu(env: NodeJS.ProcessEnv, script: string): string[] {
  if (path.basename(script) === 'dunwu') return ['dunwu'];
  if (env.npm_command === 'exec') return ['npx', 'dunwu'];
  return ['node', path.relative('', script) || script];
}

function shellQuoted(word: string): string {
  return /^[\p{L}\p{N}_@%+=:,./-]+$/u.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
