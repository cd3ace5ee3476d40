/** The middle value. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

/** Two decimals, as a number. */
export function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}

/** Times `work` in milliseconds. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

export type Figures = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** Medians of ours and of the bare commands, and how many times as long ours took. */
export function compared(ours: readonly number[], shell: readonly number[]): Readonly<Record<string, number>> {
  const [oursMs, shellMs] = [median(ours), median(shell)];
  return { ours_ms: rounded(oursMs), shell_ms: rounded(shellMs), ratio: rounded(oursMs / shellMs) };
}

/** Figures for people, one row a line. */
export function figuresTable(title: string, figures: Figures): string {
  const lines = Object.entries(figures).map(([name, row]) => {
    const cells = Object.entries(row).map(([key, value]) => `${key.replaceAll('_', ' ')} ${value}`);
    return `${name.padEnd(10)} ${cells.join('   ')}`;
  });
  return `${title}:\n${lines.join('\n')}\n`;
}
