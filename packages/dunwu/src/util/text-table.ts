import { textWidth } from './text-width.js';

/**
 * Rows as lines with their cells under each other, two blanks between columns. Widths are a terminal's ({@link textWidth}).
 * @param left whether the cells of a column begin together; else they end together, as numbers should
 */
export function textTable(rows: readonly (readonly string[])[], left: (column: number) => boolean): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => textWidth(row[i] ?? ''))));
  return rows.map((row) =>
    row
      .map((cell, i) => {
        const space = ' '.repeat((widths[i] ?? 0) - textWidth(cell));
        return left(i) ? cell + space : space + cell;
      })
      .join('  ')
      .trimEnd(),
  );
}
