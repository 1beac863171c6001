import type { StageKind } from './stage.js';

/**
 * The stages that a recipe may have. Adding one: `stages/x.schema.ts` exports `schema` (and `references`),
 * `stages/x.ts` exports `run`, and here goes
 *
 *     defineKind({ kind: 'x', summary: '…', spec: () => import('./stages/x.schema.js'), work: () => import('./stages/x.js') })
 */
export const kinds: readonly StageKind[] = [];

/** The recipe's `task` block. */
export { taskSchema } from '../task/registry.js';
