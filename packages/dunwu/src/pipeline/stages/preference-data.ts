import path from 'node:path';
import type { Note, StageContext } from '../stage.js';
import { datasetOf } from './common.js';
import type { PreferenceData } from './preference-data.schema.js';

/** The rows of all data, in order. */
export function readAll<T>(ctx: StageContext, data: PreferenceData, read: (file: string) => T[]): T[] {
  return data.flatMap((one) =>
    read('stage' in one ? datasetOf(ctx, one.stage) : path.resolve(ctx.recipe.base, one.file)),
  );
}

/** Why rows were left out: a word for report.json, sentences for people. */
export interface LeftOutReason {
  readonly name: string;
  readonly en: string;
  readonly zh: string;
}

/** Rows that cannot be learnt from, and where they stand. */
export class LeftOut {
  readonly #places = new Map<LeftOutReason, string[]>();

  add(reason: LeftOutReason, where: string): void {
    const places = this.#places.get(reason);
    if (places === undefined) this.#places.set(reason, [where]);
    else places.push(where);
  }

  /** Says in the log what was left out, where. */
  tell(ctx: StageContext): void {
    for (const [{ en }, places] of this.#places) {
      const more = places.length > 5 ? `, … (${places.length - 5} more)` : '';
      ctx.log(`${ctx.name}: ${places.length} rows left out, ${en}: ${places.slice(0, 5).join(', ')}${more}`);
    }
  }

  get counts(): Record<string, number> {
    return Object.fromEntries([...this.#places].map(([{ name }, places]) => [name, places.length]));
  }

  get notes(): Note[] {
    return [...this.#places].map(([{ en, zh }, { length }]) => ({
      en: `${length} rows left out: ${en}`,
      zh: `略去 ${length} 行：${zh}`,
    }));
  }
}

export const tooLong = (longest: number): LeftOutReason => ({
  name: 'oversized',
  en: `longer than the model's ${longest} positions`,
  zh: `超过模型的 ${longest} 个位置`,
});

export const noDifference: LeftOutReason = {
  name: 'no_difference',
  en: 'chosen and rejected do not differ in what is read',
  zh: '较好与较差的回答在所读部分上没有区别',
};
