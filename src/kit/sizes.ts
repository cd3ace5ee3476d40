const UNIT_BYTES: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
  p: 2 ** 50,
};

/**
 * Bytes of a size as people write it: `67108864`, `100MiB`, `1.5g`, `2TB`. Units are binary with or without the `i`, as
 * Flocker has always read them. Undefined when it is no size, is not a whole number of bytes, or is beyond 2^53.
 */
export function parseSizeBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?$/i.exec(text.trim());
  if (match === null) return undefined;
  const unitBytes = UNIT_BYTES[(match[2] ?? '').toLowerCase()];
  if (unitBytes === undefined) return undefined;
  const sizeBytes = Number(match[1]) * unitBytes;
  return Number.isSafeInteger(sizeBytes) ? sizeBytes : undefined;
}

/** A size for people: `1 GiB`, `1.5 GiB`, `512 MiB`. */
export function formatSize(sizeBytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let value = sizeBytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number(value.toFixed(2))} ${units[unit]}`;
}

/** `sizeBytes` rounded up to a multiple of `unitBytes`. */
export function roundUp(sizeBytes: number, unitBytes: number): number {
  return Math.ceil(sizeBytes / unitBytes) * unitBytes;
}
