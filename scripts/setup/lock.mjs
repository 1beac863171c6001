import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A lock this old was left behind, whatever process has that number now. */
const STALE_AFTER = 2 * 60 * 60 * 1000;

function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function holder(file) {
  try {
    const pid = Number(readFileSync(file, 'utf8'));
    const old = Date.now() - statSync(file).mtimeMs;
    // An empty file is a lock that another process is writing at this moment.
    if (pid === 0) return { pid, stale: old > 5000 };
    return { pid, stale: !alive(pid) || old > STALE_AFTER };
  } catch {
    return null;
  }
}

/**
 * Waits until no other set-up works in this folder, then holds the lock until the returned function is called (or the
 * process ends). A lock left by a killed process is taken over.
 * @param waiting called once when there is something to wait for, with the other process' id
 */
export async function takeLock(file, waiting = () => {}) {
  mkdirSync(path.dirname(file), { recursive: true });
  let told = false;
  for (;;) {
    try {
      writeFileSync(file, `${process.pid}`, { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const other = holder(file);
    if (other?.stale) {
      // Rename first: of two waiters only one gets the stale file, and neither deletes a lock newly made.
      const aside = `${file}.${process.pid}.stale`;
      try {
        renameSync(file, aside);
        rmSync(aside, { force: true });
      } catch {
        // the other waiter was faster
      }
      continue;
    }
    if (other !== null && !told) {
      waiting(other.pid);
      told = true;
    }
    await sleep(200);
  }
  const release = () => {
    if (holder(file)?.pid === process.pid) rmSync(file, { force: true });
    process.off('exit', release);
  };
  process.on('exit', release);
  return release;
}
