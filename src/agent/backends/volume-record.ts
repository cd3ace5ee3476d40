import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileDurably } from '../../kit/atomic-file.ts';
import { errorText } from '../../kit/coded-error.ts';
import type { DatasetId } from '../../kit/ids.ts';
import { BackendError } from './backend.ts';

const FILE_NAME = 'volume.json';

/** What `volume.json` beside a volume's bytes says about them. Written when the volume is made and when it was made larger. */
export interface VolumeRecord {
  readonly datasetId: DatasetId;
  /** Bytes that the volume has at least, its filesystem included: one that is being made larger has them later. */
  readonly sizeBytes: number;
  /** Null when the volume is a plain directory. */
  readonly filesystem: string | null;
  readonly profile: string | null;
  /** The name people use, for whoever looks at the pool by hand. */
  readonly name: string | null;
  /** The copy from another pool that it was made from; absent when it was made here. */
  readonly copy?: string;
}

/** Writes the record into a volume's directory so that it survives a power cut. */
export async function writeVolumeRecord(directory: string, record: VolumeRecord): Promise<void> {
  await writeFileDurably(join(directory, FILE_NAME), textOf(record), 0o600);
}

/** The same in the directory of a volume that is still being made; it is durable once the directory is. */
export async function writeFirstVolumeRecord(directory: string, record: VolumeRecord): Promise<void> {
  await writeFile(join(directory, FILE_NAME), textOf(record), { flag: 'wx', mode: 0o600, flush: true });
}

function textOf(record: VolumeRecord): string {
  return `${JSON.stringify({ version: 1, ...record }, null, 2)}\n`;
}

/** The record in a volume's directory. Fails with `backend_failed` when it is missing, damaged or of another dataset. */
export async function readVolumeRecord(directory: string, datasetId: DatasetId): Promise<VolumeRecord> {
  const path = join(directory, FILE_NAME);
  const damaged = (why: string, cause?: unknown): BackendError =>
    new BackendError(
      'backend_failed',
      `volume ${datasetId} cannot be used: ${path} ${why}; restore the file, the volume's bytes beside it are untouched`,
      { cause },
    );
  let content: unknown;
  try {
    content = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw damaged(`cannot be read (${errorText(error)})`, error);
  }
  if (typeof content !== 'object' || content === null) throw damaged('holds no object');
  const {
    version,
    datasetId: writtenId,
    sizeBytes,
    filesystem,
    profile,
    name,
    copy,
  } = content as Record<string, unknown>;
  if (version !== 1) throw damaged(`has version ${String(version)}, this release knows version 1`);
  if (writtenId !== datasetId) throw damaged(`belongs to dataset ${String(writtenId)}`);
  if (typeof sizeBytes !== 'number' || !Number.isSafeInteger(sizeBytes) || sizeBytes < 0) throw damaged('has no size');
  return {
    datasetId,
    sizeBytes,
    filesystem: typeof filesystem === 'string' ? filesystem : null,
    profile: typeof profile === 'string' ? profile : null,
    name: typeof name === 'string' ? name : null,
    ...(typeof copy === 'string' ? { copy } : {}),
  };
}
