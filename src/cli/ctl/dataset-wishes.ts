import { InvalidArgumentError } from 'commander';
import { parseSizeBytes, roundUp } from '../../kit/sizes.ts';
import { MINIMUM_SIZE_BYTES, SIZE_STEP_BYTES } from '../../model/dataset.ts';

/** Bytes of `--size`, rounded up to what the API takes: a fraction of a unit rarely is a multiple of 1 KiB. */
export function parseDatasetSize(text: string): number {
  const [, number = '', unit = ''] = /^([\d.]+)\s*(.*)$/.exec(text.trim()) ?? [];
  const unitBytes = parseSizeBytes(`1${unit}`);
  const sizeBytes = unitBytes === undefined || number === '' ? Number.NaN : Number(number) * unitBytes;
  if (!Number.isFinite(sizeBytes)) throw new InvalidArgumentError('It must look like 67108864, 512M, 1.5GiB or 2T.');
  const roundedBytes = roundUp(sizeBytes, SIZE_STEP_BYTES);
  if (roundedBytes < MINIMUM_SIZE_BYTES) throw new InvalidArgumentError('A volume has at least 64 MiB.');
  if (!Number.isSafeInteger(roundedBytes)) throw new InvalidArgumentError('It is too large.');
  return roundedBytes;
}

/** Metadata of `a=b,c=d`. */
export function parseMetadata(text: string): Readonly<Record<string, string>> {
  const pairs = new Map<string, string>();
  for (const pair of text === '' ? [] : text.split(',')) {
    const [key = '', value, ...more] = pair.split('=');
    if (key === '' || value === undefined || more.length > 0) {
      throw new InvalidArgumentError(`malformed metadata specification '${text}', please use format 'a=b,c=d'`);
    }
    if (pairs.has(key)) throw new InvalidArgumentError(`The key ${key} is there twice.`);
    pairs.set(key, value);
  }
  return Object.fromEntries(pairs);
}
