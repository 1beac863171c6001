import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import type { Task } from '../task/problem.js';
import { errorText, UsageError } from '../util/errors.js';
import type { RunOfModel } from './model-folder.js';

/** A task to evaluate on, and where it was taken from, in words. */
export interface ChosenTask {
  readonly task: Task;
  readonly from: string;
  /** All of a JSONL file is held out: there are no splits to choose from. */
  readonly whole: boolean;
}

const FORMS =
  "--task takes word-problem, equation, general, a task block as YAML or JSON ('{type: word-problem, steps: [2, 3]}'), a file " +
  'with one (or a recipe), or a JSONL, JSON or Parquet file of problems';

/**
 * What `--task T` means: a task's name, a block, a file with a block or a recipe, or a data set; without T the task of
 * the run that the model came from. A task's name alone takes that run's parameters where its task is of that type.
 * @throws UsageError that names what was given and what is allowed
 */
export async function chooseTask(given: string | undefined, run: RunOfModel | null): Promise<ChosenTask> {
  const { createTask, TASK_TYPES } = await import('../task/registry.js');
  const make = (block: unknown, base: string, from: string, whole = false): ChosenTask => {
    try {
      return { task: createTask(block, base), from, whole };
    } catch (error) {
      throw new UsageError(`${from}: ${errorText(error)}`);
    }
  };
  const ofRun = (): ChosenTask | null => {
    if (run === null || run.task === undefined || run.task === null) return null;
    return make(run.task, datasetBase(run), path.join(run.dir, 'recipe.yaml'));
  };

  if (given === undefined) {
    const chosen = ofRun();
    if (chosen !== null) return chosen;
    throw new UsageError(`--task is needed: the model does not lie in a run folder. ${FORMS}`);
  }
  if ((TASK_TYPES as readonly string[]).includes(given)) {
    const type = (run?.task as { type?: unknown } | null | undefined)?.type;
    return (type === given ? ofRun() : null) ?? make({ type: given }, process.cwd(), `--task ${given}`);
  }
  const stat = statSync(given, { throwIfNoEntry: false });
  if (stat?.isDirectory()) throw new UsageError(`--task ${given}: is a folder; ${FORMS}`);
  if (stat !== undefined) {
    const asData = (): ChosenTask => {
      const file = path.resolve(given);
      return make({ type: 'dataset', path: file, test: file }, process.cwd(), `--task ${given}`, true);
    };
    if (!/\.(ya?ml|json)$/i.test(given)) return asData();
    const value = await parseYaml(readFileSync(given, 'utf8'), given);
    if (value === null || value === undefined) throw new UsageError(`--task ${given}: the file is empty; ${FORMS}`);
    if (Array.isArray(value) && /\.json$/i.test(given)) return asData();
    const block =
      typeof value === 'object' && value !== null && 'stages' in value && 'task' in value ? value.task : value;
    return make(block, path.dirname(path.resolve(given)), given);
  }
  if (/\.(ya?ml|jsonl?)$/i.test(given) && !given.includes('{')) {
    throw new UsageError(`--task ${given}: there is no such file; ${FORMS}`);
  }
  const value = await parseYaml(given, `--task ${given}`);
  if (typeof value !== 'object' || value === null)
    throw new UsageError(`--task ${given}: no task of that name. ${FORMS}`);
  return make(value, process.cwd(), '--task');
}

async function parseYaml(text: string, where: string): Promise<unknown> {
  const { parse } = await import('yaml');
  try {
    return parse(text) as unknown;
  } catch (error) {
    throw new UsageError(`${where}: not valid YAML: ${errorText(error).split('\n')[0]}`);
  }
}

/** Relative paths of a data set are the recipe's, whose folder the run does not know: here or in the run folder. */
function datasetBase(run: RunOfModel): string {
  const file = (run.task as { path?: unknown } | null)?.path;
  return typeof file === 'string' && existsSync(path.resolve(run.dir, file)) ? run.dir : process.cwd();
}
