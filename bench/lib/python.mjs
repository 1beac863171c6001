import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const PROBE = `
import importlib.metadata, json
found = {}
for name in ("torch", "transformers", "trl"):
    try: found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError: pass
print(json.dumps(found))`;

/** Versions of the peers that a Python has; {} when there is no such Python. */
export async function peerVersions(python) {
  try {
    const { stdout } = await promisify(execFile)(python, ['-c', PROBE], { timeout: 60_000 });
    return JSON.parse(stdout);
  } catch {
    return {};
  }
}

export const INSTALL_PEERS =
  'python3 -m venv .venv && .venv/bin/pip install torch transformers trl && ' +
  'DUNWU_PYTHON=.venv/bin/python npm run bench';
