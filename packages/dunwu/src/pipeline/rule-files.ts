import path from 'node:path';
import { errorText } from '../util/errors.js';
import type { Problem } from './schema-errors.js';

/** Loads the files of rules that a recipe's `rewards` blocks name under `import`, each once. */
export class RuleFiles {
  readonly #base: string;
  /** The file that each rule of this recipe comes from. */
  readonly #files = new Map<string, string>();

  /** @param base folder that the files lie in or below */
  constructor(base: string) {
    this.#base = base;
  }

  /** The files that were loaded, as the recipe names them. */
  get files(): string[] {
    return [...new Set(this.#files.values())];
  }

  /** Loads what the `rewards` blocks of one stage import; gives what is wrong with it, by the path in the stage. */
  async load(stage: unknown): Promise<Problem[]> {
    const problems: Problem[] = [];
    for (const { block, place } of rewardBlocks(stage)) {
      const list = Array.isArray(block.import) ? block.import : [block.import];
      for (const [index, file] of list.entries()) {
        const where = [...place, 'import', ...(Array.isArray(block.import) ? [index] : [])];
        if (typeof file !== 'string' || file === '') continue; // the schema's business
        const text = await this.#loadFile(file, block.rules);
        if (text !== null) problems.push({ path: where, text, atKey: false });
      }
    }
    return problems;
  }

  async #loadFile(file: string, used: unknown): Promise<string | null> {
    const { importRules } = await import('../reward/user-rules.js');
    let names: string[];
    try {
      names = await importRules(file, { below: this.#base });
    } catch (error) {
      return errorText(error);
    }
    for (const name of names) {
      const other = this.#files.get(name);
      if (other !== undefined && path.normalize(other) !== path.normalize(file))
        return `the rule \`${name}\` is in ${other} too: rename one of them`;
      this.#files.set(name, file);
    }
    const some = typeof used === 'object' && used !== null && names.some((name) => Object.hasOwn(used, name));
    return some ? null : `none of its rules (${names.join(', ')}) is among this program's rules`;
  }
}

interface RewardBlock {
  readonly block: { readonly import: unknown; readonly rules?: unknown };
  readonly place: readonly (string | number)[];
}

/** Every block under a key `rewards` that imports something. */
function rewardBlocks(value: unknown, above: readonly (string | number)[] = []): RewardBlock[] {
  if (typeof value !== 'object' || value === null || above.length > 16) return [];
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) => {
    const place = [...above, Array.isArray(value) ? Number(key) : key];
    const imports = key === 'rewards' && typeof inner === 'object' && inner !== null && Object.hasOwn(inner, 'import');
    const own = imports ? [{ block: inner as RewardBlock['block'], place }] : [];
    return [...own, ...rewardBlocks(inner, place)];
  });
}
