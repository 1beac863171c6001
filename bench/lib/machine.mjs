import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';

/** Physical cores that this process may use: what libtorch takes as its number of threads. */
export function physicalCores() {
  const available = os.availableParallelism();
  try {
    const cores = new Set();
    for (const block of readFileSync('/proc/cpuinfo', 'utf8').split('\n\n')) {
      const field = (name) => block.match(new RegExp(`^${name}\\s*: (.*)$`, 'm'))?.[1];
      const core = field('core id');
      if (core !== undefined) cores.add(`${field('physical id')}/${core}`);
    }
    if (cores.size > 0) return Math.min(cores.size, available);
  } catch {
    // No /proc: not Linux.
  }
  return available;
}

export function machineLine(threads) {
  const model = os.cpus()[0]?.model.trim() ?? 'unknown processor';
  const memory = (os.totalmem() / 2 ** 30).toFixed(0);
  return (
    `machine: ${model}, ${physicalCores()} cores, ${memory} GiB, ${os.type()} ${os.release()} ${os.arch()}; ` +
    `${threads} ${threads === 1 ? 'thread' : 'threads'} for everyone`
  );
}

/** Name, memory and driver of the GPU that is measured on; the driver's own tool knows them. */
export function gpuLine() {
  try {
    const fields = ['--query-gpu=name,memory.total,driver_version', '--format=csv,noheader'];
    return `GPU: ${execFileSync('nvidia-smi', fields, { encoding: 'utf8' }).trim().split('\n')[0]}`;
  } catch {
    return 'GPU: unknown (there is no nvidia-smi)';
  }
}

/** Processor seconds spent by all programs since the machine started, over all its cores. */
export function busySeconds() {
  return os.cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0) / 1000;
}
