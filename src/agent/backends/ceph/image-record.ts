import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../../../kit/coded-error.ts';

const FILE_NAME = 'image';

/**
 * A snapshot of an image with what it had before its filesystem began to be made larger at rest. Whoever serves an image that has one
 * takes the image back to it first: that growth was interrupted.
 */
export const GROWTH_SNAPSHOT = 'flocker-growth';

/** An RBD image. */
export interface ImagePlace {
  readonly pool: string;
  readonly image: string;
}

/** Where the bytes of a volume or a snapshot are whose directory has a file that says so. */
export interface ImageRecord extends ImagePlace {
  /** Of the image, where they are not what it has now. */
  readonly snapshot?: string;
}

/** The file in a volume's or snapshot's directory that names its image. */
export function imageRecordPath(directory: string): string {
  return join(directory, FILE_NAME);
}

/** Writes it, before the image is made. Durable, as without it nobody would know of the image. */
export async function writeImageRecord(directory: string, record: ImageRecord): Promise<void> {
  const text = `${JSON.stringify({ version: 1, ...record }, null, 2)}\n`;
  await writeFile(imageRecordPath(directory), text, { flag: 'wx', mode: 0o600, flush: true });
}

/** Undefined when there is no such file, or none that was written to its end. */
export async function readImageRecord(directory: string): Promise<ImageRecord | undefined> {
  const path = imageRecordPath(directory);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return undefined;
    throw error;
  }
  if (!text.endsWith('\n')) return undefined;
  const { version, pool, image, snapshot } = JSON.parse(text) as Readonly<Record<string, unknown>>;
  if (version !== 1) throw new Error(`${path} has version ${String(version)}, this release knows version 1`);
  if (typeof pool !== 'string' || typeof image !== 'string') throw new Error(`${path} names no image`);
  return { pool, image, ...(typeof snapshot === 'string' ? { snapshot } : {}) };
}
