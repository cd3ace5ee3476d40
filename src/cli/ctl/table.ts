import { graphemes, textWidth } from './text-width.ts';

/** A cell: its text, and how to colour it once it has its width. */
export interface Cell {
  readonly text: string;
  readonly paint?: (text: string) => string;
}

export interface TableOptions {
  /** Widest line, in columns of the terminal; undefined breaks no cell, so that each row stays one line. */
  readonly maxWidth: number | undefined;
  /** The column that is broken into several lines when the table is too wide. */
  readonly elastic: number;
}

const GAP = '   ';
const NARROWEST = 12;

/** A table without borders, left aligned, with a blank line after it (contract 6.1). */
export function formatTable(rows: readonly (readonly Cell[])[], options: TableOptions): string {
  const widths = columnWidths(rows, options);
  const lines = rows.flatMap((row) => {
    const cells = row.map(({ text }, column) => (column === options.elastic ? broken(text, widths[column]) : [text]));
    const height = Math.max(...cells.map((cell) => cell.length));
    return Array.from({ length: height }, (_, line) =>
      row
        .map(({ paint }, column) => {
          const text = cells[column]?.[line] ?? '';
          const fill = ' '.repeat(Math.max(0, (widths[column] ?? 0) - textWidth(text)));
          return `${text !== '' && paint ? paint(text) : text}${fill}`;
        })
        .join(GAP)
        .trimEnd(),
    );
  });
  return `${lines.join('\n')}\n\n`;
}

function columnWidths(rows: readonly (readonly Cell[])[], { maxWidth, elastic }: TableOptions): number[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, { text }] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, textWidth(text));
  }
  if (maxWidth === undefined) return widths;
  const total = widths.reduce((sum, width) => sum + width, 0) + GAP.length * (widths.length - 1);
  const present = widths[elastic] ?? 0;
  if (total > maxWidth) widths[elastic] = Math.min(present, Math.max(NARROWEST, present - (total - maxWidth)));
  return widths;
}

/** Lines of at most `width` columns, broken after commas where that is possible. */
function broken(text: string, width = Number.POSITIVE_INFINITY): string[] {
  const lines: string[] = [];
  let line = '';
  for (const piece of text.split(/(?<=,)/)) {
    if (line !== '' && textWidth(line) + textWidth(piece) > width) {
      lines.push(line);
      line = '';
    }
    for (const grapheme of graphemes(piece)) {
      if (line !== '' && textWidth(line) + textWidth(grapheme) > width) {
        lines.push(line);
        line = '';
      }
      line += grapheme;
    }
  }
  return [...lines, line];
}
