import { noGrad } from './autograd.js';
import type { Device } from './dtype.js';
import { op, schemas } from './operator.js';
import { scope } from './scope.js';

/** Whether work on the device can be recorded: CUDA devices, with an addon that was built with CUDA's headers. */
export function hasGraphs(device: Device): boolean {
  return device.startsWith('cuda') && schemas('dunwu::graph_begin').length > 0;
}

/**
 * A piece of work on one device that is recorded once and then launched as a whole: thousands of small operators cost one
 * launch (CUDA graphs). What it reads and writes are the very tensors that it was recorded with: new inputs are copied into
 * those, results left in them. Where the device has no graphs ({@link hasGraphs}), or this work cannot be recorded, it is called
 * again instead, to the same effect.
 */
export class Graph {
  readonly #body: () => void;
  readonly #number: number | null;

  /**
   * Records. Nothing is computed, so nothing may be read back in it; without gradients; tensors made on the way are freed. What
   * fails is warned of once: whose fault it is shows when the work is called.
   * @param body launches the same operators on tensors of the same shapes whenever it is called; libraries are warm: run it before
   */
  constructor(device: Device, body: () => void) {
    this.#body = () => noGrad(() => scope(body));
    this.#number = hasGraphs(device) ? record(device, this.#body) : null;
  }

  /** Does the work on what the tensors hold now. */
  replay(): void {
    if (this.#number === null) this.#body();
    else op('dunwu::graph_replay')(this.#number);
  }

  dispose(): void {
    if (this.#number !== null) op('dunwu::graph_free')(this.#number);
  }
}

/** @returns the graph's number; null when it cannot be recorded */
function record(device: Device, body: () => void): number | null {
  let number: number | null = null;
  try {
    number = op('dunwu::graph_begin')(device) as number;
    body();
    op('dunwu::graph_end')(number);
    return number;
  } catch (error) {
    if (number !== null) giveUp(number);
    warn(device, error);
    return null;
  }
}

/** The capture has to be ended whatever has become of it; what went wrong first is what to tell. */
function giveUp(number: number): void {
  try {
    op('dunwu::graph_end')(number);
  } catch {}
  op('dunwu::graph_free')(number);
}

let warned = false;

function warn(device: Device, error: unknown): void {
  if (warned) return;
  warned = true;
  const why = error instanceof Error ? error.message : String(error);
  process.emitWarning(
    `work on ${device} cannot be recorded as a graph, and is launched one operator after another: ${why}`,
  );
}
