import { hash } from 'node:crypto';
import { writeSync } from 'node:fs';
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { writeFileDurably } from '../../../kit/atomic-file.ts';
import { errorCode } from '../../../kit/coded-error.ts';

/** What was acknowledged last. */
export interface Acknowledged {
  readonly clusterId: string;
  readonly revision: number;
}

/** The acknowledgement in a witness file; why there is none otherwise. Rejects when the file cannot be read. */
export async function readWitness(path: string): Promise<Acknowledged | 'missing' | 'unreadable'> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return 'missing';
    throw error;
  }
  const [, clusterId, digits] = /^1 (\S+) (\d{16}) [0-9a-f]{16}\n$/.exec(text) ?? [];
  if (clusterId === undefined || digits === undefined) return 'unreadable';
  const acknowledged = { clusterId, revision: Number(digits) };
  return witnessText(acknowledged) === text ? acknowledged : 'unreadable';
}

/** The text of a witness file. Always the same length for one cluster and within one sector, so that it can be overwritten in place. */
export function witnessText({ clusterId, revision }: Acknowledged): string {
  const line = `1 ${clusterId} ${String(revision).padStart(16, '0')}`;
  return `${line} ${hash('sha256', line, 'hex').slice(0, 16)}\n`;
}

/**
 * Records the last acknowledged revision beside the database. Not synced: the page cache survives kill -9, and a power
 * cut can only leave an older revision, which the database, which is synced, always has.
 */
export class Witness {
  readonly #file: FileHandle;
  readonly #clusterId: string;

  private constructor(file: FileHandle, clusterId: string) {
    this.#file = file;
    this.#clusterId = clusterId;
  }

  /** Writes `acknowledged` durably in place of whatever is at `path` and keeps the file open. */
  static async start(path: string, acknowledged: Acknowledged): Promise<Witness> {
    await writeFileDurably(path, witnessText(acknowledged), 0o600);
    return new Witness(await open(path, 'r+'), acknowledged.clusterId);
  }

  /** Into the page cache, which is quicker than a trip to another thread. */
  acknowledge(revision: number): void {
    writeSync(this.#file.fd, witnessText({ clusterId: this.#clusterId, revision }), 0);
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
