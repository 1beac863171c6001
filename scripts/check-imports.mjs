#!/usr/bin/env node
// Imports go down only: a module may import from its own folder and from the layers below it, never from a layer above
// or from a neighbour in its own layer.   node scripts/check-imports.mjs
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** From the top down. Folders of one layer do not know each other, except for what `BESIDE` allows. */
export const LAYERS = [
  ['cli', 'serve', 'studio'],
  ['pipeline'],
  ['train'],
  ['objective', 'rollout', 'reward', 'task', 'data', 'eval'],
  ['model', 'text'],
  ['torch'],
  ['util'],
];

/** Imports within a layer that are part of the design: [from, to]. */
export const BESIDE = [
  ['cli', 'serve'], // the command starts the server
  ['reward', 'task'], // a rule reads the problem
  ['data', 'task'], // corpora are made of problems
  ['eval', 'task'],
  ['eval', 'reward'],
  ['eval', 'rollout'],
];

const layerOf = (folder) => LAYERS.findIndex((layer) => layer.includes(folder));

/** Every module specifier of a TypeScript source, with its line number, counted from 1. */
export function specifiers(source) {
  // Comments may hold example imports; blank them out, keeping the line breaks.
  const code = source.replace(/\/\*[\s\S]*?\*\/|(?<=^|[\s;])\/\/[^\n]*/g, (comment) => comment.replace(/[^\n]/g, ' '));
  const pattern =
    /(?:^|[\s;}])(?:import|export)\b[^'"`;]*?\bfrom\s*(['"])(.*?)\1|(?:^|[\s;])import\s*(['"])(.*?)\3|\bimport\s*\(\s*(['"])(.*?)\5/g;
  return [...code.matchAll(pattern)].map((match) => {
    const name = match[2] ?? match[4] ?? match[6];
    const end = match.index + match[0].length;
    return { name, line: code.slice(0, end).split('\n').length };
  });
}

/**
 * The folder of src/ that a file of packages/dunwu belongs to, `torch` for all of packages/torch, or null for a file
 * outside the layers (src/index.ts, which exports everything).
 */
export function folderOf(file) {
  const torch = /(?:^|\/)packages\/torch\//.test(file);
  if (torch) return 'torch';
  return file.match(/(?:^|\/)packages\/dunwu\/src\/([^/]+)\//)?.[1] ?? null;
}

/** What is wrong with an import of `target` by `from` (folder names), or null. */
export function objection(from, target) {
  if (from === target || from === null) return null;
  if (target === null) return `${from} imports the package's index, which is above everything`;
  if (layerOf(from) < 0) return `the folder ${from} is in no layer: add it to LAYERS in scripts/check-imports.mjs`;
  if (layerOf(target) < 0) return `the folder ${target} is in no layer: add it to LAYERS in scripts/check-imports.mjs`;
  if (layerOf(target) > layerOf(from))
    return from === 'torch' ? '@dunwu/torch is useful on its own and imports nothing of dunwu' : null;
  if (layerOf(target) === layerOf(from)) {
    const allowed = BESIDE.some(([a, b]) => a === from && b === target);
    return allowed ? null : `${from} and ${target} are in the same layer and do not know each other`;
  }
  return `${target} is above ${from}`;
}

/** The forbidden imports of one file: `{ file, line, name, why }`. */
export function checkFile(file, source) {
  // Tests and their helpers are not shipped: they may set up a scene with anything.
  if (/\.test\.ts$|\/testing\//.test(file)) return [];
  const from = folderOf(file);
  return specifiers(source).flatMap(({ name, line }) => {
    let target;
    if (name === '@dunwu/torch' || name.startsWith('@dunwu/torch/')) target = 'torch';
    else if (name === 'dunwu' || name.startsWith('dunwu/')) target = null;
    else if (name.startsWith('.')) {
      const resolved = path.posix.join(path.posix.dirname(file), name);
      if (!/(?:^|\/)packages\/(torch|dunwu\/src)\//.test(resolved)) return [];
      target = folderOf(resolved);
    } else return [];
    const why = objection(from, target);
    return why === null ? [] : [{ file, line, name, why }];
  });
}

function sources(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const full = path.join(folder, entry.name);
    if (entry.isDirectory()) return sources(full);
    return /\.[cm]?tsx?$/.test(entry.name) ? [full] : [];
  });
}

function main() {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const files = ['packages/torch/src', 'packages/dunwu/src'].flatMap((folder) => sources(path.join(root, folder)));
  const found = files.flatMap((file) =>
    checkFile(path.relative(root, file).split(path.sep).join('/'), readFileSync(file, 'utf8')),
  );
  for (const { file, line, name, why } of found) console.error(`${file}:${line}: '${name}': ${why}`);
  if (found.length > 0) {
    console.error(`\n${found.length} import${found.length === 1 ? '' : 's'} against the direction:`);
    console.error(`  ${LAYERS.map((layer) => layer.join(', ')).join('  →  ')}`);
    process.exitCode = 1;
  } else console.log(`Imports go down only: ${files.length} files checked.`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
