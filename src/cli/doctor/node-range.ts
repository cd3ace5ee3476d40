/** Whether `v20.19.1` is in a range such as `^20.19.0 || >=22.3.0`: the two forms that `engines` of this package uses. */
export function satisfies(version: string, range: string): boolean {
  const have = numbersOf(version);
  return range.split('||').some((text) => {
    const part = text.trim();
    const least = numbersOf(part);
    if (compare(have, least) < 0) return false;
    return part.startsWith('^') ? have[0] === least[0] : part.startsWith('>=');
  });
}

function numbersOf(text: string): readonly number[] {
  return (/\d+(?:\.\d+)*/.exec(text)?.[0] ?? '').split('.').map(Number);
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let place = 0; place < 3; place += 1) {
    const difference = (a[place] ?? 0) - (b[place] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
