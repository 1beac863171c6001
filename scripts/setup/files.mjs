import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** SHA-256 of the parts, in order; an object is taken as its JSON. */
export function hash(...parts) {
  const digest = createHash('sha256');
  for (const part of parts) {
    const bytes = typeof part === 'string' || Buffer.isBuffer(part) ? part : JSON.stringify(part);
    digest.update(`${bytes.length}:`).update(bytes);
  }
  return digest.digest('hex');
}

/** Hash of the files' names (relative to `root`) and contents. */
export function hashFiles(root, files) {
  const parts = [];
  for (const file of [...files].sort()) parts.push(path.relative(root, file), readFileSync(file));
  return hash(...parts);
}

/** All files below a folder for which `keep(path)` holds; none when the folder does not exist. */
export function listFiles(folder, keep = () => true) {
  let entries;
  try {
    entries = readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
  return entries.flatMap((entry) => {
    const full = path.join(folder, entry.name);
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : listFiles(full, keep);
    return keep(full) ? [full] : [];
  });
}

/** A JSON file's value, or null when it is not there or not JSON. */
export function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return null;
  }
}

/** Writes JSON so that a reader sees the old file or the new one, never half. */
export function writeJson(file, value) {
  mkdirSync(path.dirname(file), { recursive: true });
  const temporary = `${file}.${process.pid}.tmp`;
  writeFileSync(temporary, `${JSON.stringify(value, null, 2)}\n`);
  renameSync(temporary, file);
}

/** Cheap identity of a file that is too large to hash: its size and time of change, or null when it is not there. */
export function fileIdentity(file) {
  const stat = statSync(file, { throwIfNoEntry: false });
  return stat?.isFile() ? `${stat.size}-${Math.round(stat.mtimeMs)}` : null;
}
