import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** The version a libtorch or torch folder says it has: version.py, then build-version, then the C++ header; or null. */
export function readVersion(root) {
  const read = (name) => (existsSync(path.join(root, name)) ? readFileSync(path.join(root, name), 'utf8') : '');
  const python = read('version.py').match(/^__version__\s*(?::\s*\w+\s*)?=\s*['"]([^'"]+)['"]/m)?.[1];
  if (python !== undefined) return python;
  const zip = read('build-version').trim();
  if (zip !== '') return zip;
  for (const name of ['include/torch/headeronly/version.h', 'include/torch/csrc/api/include/torch/version.h']) {
    const text = read(name);
    const numbers = ['MAJOR', 'MINOR', 'PATCH'].map(
      (part) => text.match(new RegExp(`#define TORCH_VERSION_${part} (\\d+)`))?.[1],
    );
    if (numbers.every((number) => number !== undefined)) return numbers.join('.');
  }
  return null;
}
