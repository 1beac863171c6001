import type { ScalarModel } from '../model/scalar-model.js';
import type { Optimizer } from './optimizer.js';
import { loadTrainingState, saveTrainingState } from './state.js';

/** saveTrainingState of a scalar model: its trunk's folder with the score head beside. */
export async function saveScalarTrainingState(
  dir: string,
  model: ScalarModel,
  optimizer: Optimizer,
  plain: Readonly<Record<string, unknown>>,
): Promise<void> {
  await saveTrainingState(dir, model.trunk, optimizer, plain);
  model.saveHead(dir);
}

/** Puts back what saveScalarTrainingState wrote, into a model and an optimiser of the same configuration. */
export function loadScalarTrainingState(
  dir: string,
  model: ScalarModel,
  optimizer: Optimizer,
): Record<string, unknown> {
  const state = loadTrainingState(dir, model.trunk, optimizer);
  model.loadHead(dir);
  return state;
}
