import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { errorText, UsageError } from '../util/errors.js';

/** PEFT's name, and where a stage leaves its adapter. */
const ADAPTER_CONFIG = 'adapter_config.json';
const ADAPTER_FOLDER = 'adapter';

/** A run folder's resolved recipe, as far as commands on models use it. */
export interface RunOfModel {
  readonly dir: string;
  /** The recipe's `task` block, undefined when it has none. */
  readonly task: unknown;
  readonly stages: readonly Readonly<Record<string, unknown>>[];
}

/** Where a model is, and the run that it came from, if it lies in one. */
export interface ModelPlace {
  /** Hugging Face's folder: config.json, weights, tokenizer.json. */
  readonly folder: string;
  readonly run: RunOfModel | null;
}

/**
 * Finds the model that a command was given: a model's folder, or a run folder, whose last finished model is meant.
 * @throws UsageError naming the folder and what was expected in it
 */
export async function findModel(given: string): Promise<ModelPlace> {
  const stat = statSync(given, { throwIfNoEntry: false });
  if (stat === undefined)
    throw new UsageError(`${given}: there is no such folder; give a model's folder or a run folder`);
  if (!stat.isDirectory()) throw new UsageError(`${given}: is a file; give the folder of the model or of the run`);
  if (existsSync(path.join(given, 'config.json'))) return { folder: given, run: await enclosingRun(given) };
  const run = await readRun(given);
  if (run === null && existsSync(path.join(given, ADAPTER_CONFIG))) {
    throw new UsageError(`${given}: holds an adapter and no model: give the model, and --adapter ${given}`);
  }
  if (run === null) {
    throw new UsageError(`${given}: holds neither a model (config.json) nor a run (recipe.yaml)`);
  }
  for (const stage of [...run.stages].reverse()) {
    const folder = modelOf(run.dir, String(stage.name));
    if (folder !== null) return { folder, run };
  }
  throw new UsageError(
    `${given}: no stage of this run has finished a model yet; go on with --resume, or give a checkpoint's folder (${path.join(given, 'checkpoints')})`,
  );
}

/**
 * The folder of an adapter for a model.
 * @throws UsageError when it holds none, or is the one that a stage's model has in its weights already
 */
export function requireAdapter(model: string, adapter: string): string {
  const file = path.join(adapter, ADAPTER_CONFIG);
  if (!existsSync(file)) {
    const inner = path.join(adapter, ADAPTER_FOLDER);
    const meant = existsSync(path.join(inner, ADAPTER_CONFIG)) ? `; did you mean ${inner}?` : '';
    throw new UsageError(`${file}: there is no such file; an adapter's folder, in PEFT's layout, is needed${meant}`);
  }
  if (path.resolve(adapter) === path.resolve(model, ADAPTER_FOLDER)) {
    throw new UsageError(`${adapter}: is in the weights of ${model} already; give the model that it was trained on`);
  }
  return adapter;
}

/** The tokenizer's folder is the model's. @throws UsageError when there is none */
export function requireTokenizer(folder: string, why: string): string {
  const file = path.join(folder, 'tokenizer.json');
  if (existsSync(file)) return folder;
  throw new UsageError(`${file}: there is no such file; ${why}. Copy the model's tokenizer.json into its folder`);
}

/** A tokenizer may have fewer ids than the model has embeddings, never more. @throws UsageError otherwise */
export function requireVocabulary(folder: string, tokenizer: number, model: number): void {
  if (tokenizer <= model) return;
  throw new UsageError(
    `${path.join(folder, 'tokenizer.json')}: has ${tokenizer} ids, but vocab_size in config.json is ${model}: it belongs to another model`,
  );
}

function modelOf(dir: string, stage: string): string | null {
  const places = [path.join(dir, 'models', stage)];
  try {
    const record = JSON.parse(readFileSync(path.join(dir, 'stages', `${stage}.json`), 'utf8')) as { model?: unknown };
    if (typeof record.model === 'string') places.unshift(path.resolve(dir, record.model));
  } catch {
    return null; // not finished
  }
  return places.find((place) => existsSync(path.join(place, 'config.json'))) ?? null;
}

/** models/<stage> is two levels below its run, checkpoints/<stage>/step-… three. */
async function enclosingRun(folder: string): Promise<RunOfModel | null> {
  let above = path.resolve(folder);
  for (let level = 0; level < 3; level++) {
    above = path.dirname(above);
    const run = await readRun(above);
    if (run !== null) return run;
  }
  return null;
}

async function readRun(dir: string): Promise<RunOfModel | null> {
  const file = path.join(dir, 'recipe.yaml');
  if (!existsSync(file) || !existsSync(path.join(dir, 'stages'))) return null;
  const { parse } = await import('yaml');
  let recipe: { task?: unknown; stages?: unknown } | null;
  try {
    recipe = parse(readFileSync(file, 'utf8')) as typeof recipe;
  } catch (error) {
    throw new UsageError(`${file}: cannot be read: ${errorText(error)}`);
  }
  const stages = Array.isArray(recipe?.stages) ? (recipe.stages as Readonly<Record<string, unknown>>[]) : [];
  return { dir, task: recipe?.task, stages };
}
