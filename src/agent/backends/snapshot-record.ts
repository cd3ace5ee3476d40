import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileDurably } from '../../kit/atomic-file.ts';
import { errorText } from '../../kit/coded-error.ts';
import type { DatasetId, SnapshotId } from '../../kit/ids.ts';
import { BackendError, type TakenSnapshot } from './backend.ts';

const FILE_NAME = 'snapshot.json';

/** What `snapshot.json` beside a snapshot's bytes says about them. Written once. */
export interface SnapshotRecord extends TakenSnapshot {
  readonly snapshotId: SnapshotId;
  /** What it was taken of, for whoever looks at the pool by hand. */
  readonly datasetId: DatasetId;
  /** Null when the volume is a plain directory. */
  readonly filesystem: string | null;
}

/** Writes the record into a snapshot's directory so that it survives a power cut. */
export async function writeSnapshotRecord(directory: string, record: SnapshotRecord): Promise<void> {
  await writeFileDurably(join(directory, FILE_NAME), `${JSON.stringify({ version: 1, ...record }, null, 2)}\n`, 0o600);
}

/** The record in a snapshot's directory. Fails with `backend_failed` when it is missing, damaged or of another snapshot. */
export async function readSnapshotRecord(directory: string, snapshotId: SnapshotId): Promise<SnapshotRecord> {
  const path = join(directory, FILE_NAME);
  const damaged = (why: string, cause?: unknown): BackendError => {
    const text = `snapshot ${snapshotId} cannot be used: ${path} ${why}; restore the file, the bytes beside it are untouched`;
    return new BackendError('backend_failed', text, { cause });
  };
  let content: unknown;
  try {
    content = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw damaged(`cannot be read (${errorText(error)})`, error);
  }
  if (typeof content !== 'object' || content === null) throw damaged('holds no object');
  const {
    version,
    snapshotId: writtenId,
    datasetId,
    sizeBytes,
    takenAtMs,
    filesystem,
  } = content as Record<string, unknown>;
  if (version !== 1) throw damaged(`has version ${String(version)}, this release knows version 1`);
  if (writtenId !== snapshotId) throw damaged(`belongs to snapshot ${String(writtenId)}`);
  if (typeof sizeBytes !== 'number' || !Number.isSafeInteger(sizeBytes) || sizeBytes < 0) throw damaged('has no size');
  if (typeof takenAtMs !== 'number' || typeof datasetId !== 'string') throw damaged('does not say of what and when');
  return {
    snapshotId,
    datasetId: datasetId as DatasetId,
    sizeBytes,
    takenAtMs,
    filesystem: typeof filesystem === 'string' ? filesystem : null,
  };
}
