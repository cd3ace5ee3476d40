const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Bytes for people; an unknown figure is a dash. */
export function bytesText(bytes: number | null | undefined): string {
  if (bytes === null || bytes === undefined) return '–';
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value >= 10 || unit === 0 ? Math.round(value) : Math.round(value * 10) / 10} ${UNITS[unit]}`;
}

/** A share for people. */
export function percentText(share: number | null): string {
  return share === null ? '–' : `${Math.round(share * 100)} %`;
}

/** `10`, `10G`, `1.5 TiB` as bytes, rounded up to a whole KiB; undefined when it is no size. A bare number is GiB. */
export function parseSize(text: string): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([kmgtKMGT]?)(?:i?[bB])?\s*$/.exec(text);
  if (match === null) return undefined;
  const power = { k: 1, m: 2, g: 3, t: 4 }[(match[2] || 'g').toLowerCase()] ?? 3;
  const bytes = Math.ceil((Number(match[1]) * 1024 ** power) / 1024) * 1024;
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : undefined;
}
