import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { op, openSafetensors, runtimeInfo, writeSafetensors } from '@dunwu/torch';
import { expect, it } from 'vitest';
import { checkParity } from './parity.js';

const golden = fileURLToPath(new URL('../model/testing/golden/', import.meta.url));

/** A GPU where there is one, else what stands for one: native/stand_in.cpp. */
const device = runtimeInfo().cudaDevices > 0 ? 'cuda' : (op('dunwu::stand_in')() as string);

it.each(['deepseek_v3', 'qwen3'])('%s on a device that is not the CPU: the numbers of transformers', async (name) => {
  const folder = mkdtempSync(join(tmpdir(), 'dunwu-parity-'));
  try {
    cpSync(join(golden, name), folder, { recursive: true });
    // What the model says is the decoder's work: it has tests of its own.
    using source = openSafetensors(join(golden, name, 'golden.safetensors'));
    const kept = source.names.filter((one) => !one.startsWith('greedy.'));
    writeSafetensors(join(folder, 'golden.safetensors'), new Map(kept.map((one) => [one, source.tensor(one)])));
    const { logits, hidden_max, loss, grad_max, adamw5_max, router_equal } = await checkParity(folder, device);
    for (const error of [logits, hidden_max, loss, grad_max, adamw5_max]) expect(error).toBeLessThanOrEqual(1e-5);
    expect(router_equal).toBe(name === 'qwen3' ? null : true);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
