import { spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import path from 'node:path';

const children = new Set();

/** Ends whatever set-up started; called when set-up itself is interrupted. */
export function stopChildren() {
  for (const child of children) signalGroup(child, 'SIGKILL');
}

/** A compiler driver's own children have to go with it: each program runs in a process group of its own. */
function signalGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // ended in the meantime
  }
}

/**
 * Runs a program without a shell. Resolves with its output, never rejects for a failing program.
 * @param limit milliseconds in all
 * @param stalled called every 200 ms with the milliseconds spent; returns a reason to stop the program, or null
 * @returns {Promise<{ code: number | null, stdout: string, stderr: string, output: string, stopped: string | null, missing: boolean }>}
 */
export function run(command, args, { cwd, env = process.env, limit = Infinity, stalled = () => null } = {}) {
  return new Promise((resolve) => {
    const result = { code: null, stdout: '', stderr: '', output: '', stopped: null, missing: false };
    const started = performance.now();
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    children.add(child);
    const stop = (reason) => {
      if (result.stopped !== null) return;
      result.stopped = reason;
      signalGroup(child, 'SIGTERM');
      setTimeout(() => signalGroup(child, 'SIGKILL'), 2000).unref();
    };
    const watch = setInterval(() => {
      const spent = performance.now() - started;
      if (spent > limit) stop(`stopped after ${Math.round(spent / 1000)} s`);
      const reason = stalled(spent);
      if (reason !== null) stop(reason);
    }, 200);
    child.stdout.setEncoding('utf8').on('data', (text) => {
      result.stdout += text;
      result.output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      result.stderr += text;
      result.output += text;
    });
    const finish = () => {
      clearInterval(watch);
      children.delete(child);
      resolve(result);
    };
    child.on('error', (error) => {
      result.missing = error.code === 'ENOENT';
      result.stderr += error.message;
      result.output += error.message;
      finish();
    });
    child.on('close', (code) => {
      result.code = code;
      finish();
    });
  });
}

/** The full path of a program on PATH (or of a path given as such), or null. */
export function which(program, searchPath = process.env.PATH ?? '') {
  const candidates = program.includes('/')
    ? [path.resolve(program)]
    : searchPath
        .split(path.delimiter)
        .filter(Boolean)
        .map((folder) => path.join(folder, program));
  for (const candidate of candidates) {
    try {
      accessSync(candidate, constants.X_OK);
      if (statSync(candidate).isFile()) return candidate;
    } catch {
      // not here: look in the next folder
    }
  }
  return null;
}
