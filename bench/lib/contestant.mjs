import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Lines of a contestant's standard error that are kept, to be shown when it fails. */
const KEPT_LINES = 30;

/** Longest time to start, and for one turn. */
const TIMEOUT_SECONDS = 900;

/**
 * One implementation under one setting doing one work, in a process of its own: so its memory can be told, and its
 * settings reach nobody else. Speaks JSON lines on standard input and output: after `{"ready": …}` it waits, doing
 * nothing, for `{"run": n}`, and answers `{"seconds": [n numbers], "cpu_seconds": …, "peak_bytes": …}`.
 */
export class Contestant {
  #process;
  #pending = null;
  #ended = null;
  #errors = [];

  constructor(name, command, args, env) {
    this.name = name;
    this.#process = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#process.stdin.on('error', () => {}); // It died: 'close' says so.
    this.#process.on('error', (error) => this.#end(`cannot be started: ${error.message}`));
    this.#process.on('close', (code, signal) => this.#end(`ended with ${signal ?? `exit code ${code}`}`));
    createInterface({ input: this.#process.stderr }).on('line', (line) => {
      this.#errors.push(line);
      if (this.#errors.length > KEPT_LINES) this.#errors.shift();
    });
    createInterface({ input: this.#process.stdout }).on('line', (line) => {
      const pending = this.#pending;
      this.#pending = null;
      try {
        pending?.resolve(JSON.parse(line));
      } catch {
        pending?.reject(new Error(`${this.name} wrote something that is not JSON: ${line}`));
      }
    });
  }

  /** What it says of itself when it is ready to run. */
  ready() {
    return this.#answer();
  }

  /** Does the work n times; everyone else waits. */
  run(n) {
    const answer = this.#answer();
    this.#process.stdin.write(`${JSON.stringify({ run: n })}\n`);
    return answer;
  }

  stop() {
    this.#process.kill('SIGKILL');
  }

  #answer() {
    return new Promise((resolve, reject) => {
      if (this.#ended !== null) {
        reject(this.#failure(this.#ended));
        return;
      }
      const timer = setTimeout(() => {
        this.stop();
        reject(this.#failure(`gave no answer in ${TIMEOUT_SECONDS} s`));
      }, TIMEOUT_SECONDS * 1000);
      const settle = (action) => (value) => {
        clearTimeout(timer);
        action(value);
      };
      this.#pending = { resolve: settle(resolve), reject: settle(reject) };
    });
  }

  #end(reason) {
    this.#ended ??= reason;
    this.#pending?.reject(this.#failure(reason));
    this.#pending = null;
  }

  #failure(reason) {
    return new Error([`${this.name} ${reason}`, ...this.#errors.map((line) => `  ${line}`)].join('\n'));
  }
}
