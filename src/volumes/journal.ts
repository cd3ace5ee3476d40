import { appendFileSync, statSync } from 'node:fs';
import { type FileHandle, mkdir, open, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeFileDurably } from '../kit/atomic-file.ts';
import { errorCode, errorText } from '../kit/coded-error.ts';
import { decodeJournal, encodeGroup, type JournalChange, type Json } from './journal-format.ts';
import { VolumeError } from './volume-error.ts';

/** The file grows by appending up to this many bytes beyond its last rewriting. */
const REWRITE_AFTER_BYTES = 1024 * 1024;

interface WaitingCommit {
  readonly changes: readonly JournalChange[];
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** A small durable map. Commits that wait at the same time share one write and one fdatasync. */
export interface Journal {
  /** Every entry as it is on disk. */
  entries(): ReadonlyMap<string, Json>;
  /**
   * Makes the changes durable, atomically and in the order of the calls. Fails with `ledger_failed` when the disk refuses;
   * the entries are then as before for this process, and later calls write the whole file anew.
   */
  commit(changes: readonly JournalChange[]): Promise<void>;
  /** Changes that can wait: they go to disk with the next commit, or at the end. */
  later(changes: readonly JournalChange[]): void;
  close(): Promise<void>;
}

/** Opens the journal at `path` or makes an empty one. Fails with `ledger_damaged`; a damaged one is never emptied. */
export async function openJournal(path: string): Promise<Journal> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 }).catch((error: unknown) => fail(path, error));
  const bytes = await readFile(path).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return undefined;
    return fail(path, error);
  });
  if (bytes === undefined) return FileJournal.start(path, new Map(), 0);
  const content = decodeJournal(bytes);
  if (content.kind === 'damaged') {
    throw new VolumeError(
      'ledger_damaged',
      `${path} records which tasks use which volumes, and its line ${content.line} is damaged: ${content.reason}. ` +
        'Restore it, or stop every task with a volume on this node and then remove the file',
    );
  }
  return FileJournal.start(path, content.entries, content.number);
}

/** Where the journal of a ledger directory is. */
export function journalPath(directory: string): string {
  return join(directory, 'holders.journal');
}

class FileJournal implements Journal {
  readonly #path: string;
  readonly #entries: Map<string, Json>;
  #number: number;
  #file: FileHandle | undefined;
  #inode = 0;
  #appendedBytes = 0;
  #waiting: WaitingCommit[] = [];
  #later: JournalChange[] = [];
  #writing: Promise<void> | undefined;
  #closed = false;

  private constructor(path: string, entries: Map<string, Json>, number: number) {
    this.#path = path;
    this.#entries = entries;
    this.#number = number;
  }

  /** Rewrites the file at once: that cuts off a torn tail and shows a full or read-only disk before anything depends on it. */
  static async start(path: string, entries: Map<string, Json>, number: number): Promise<Journal> {
    const journal = new FileJournal(path, entries, number);
    await journal.#rewrite(entries).catch((error: unknown) => fail(path, error));
    return journal;
  }

  entries(): ReadonlyMap<string, Json> {
    return this.#entries;
  }

  commit(changes: readonly JournalChange[]): Promise<void> {
    if (this.#closed) return Promise.reject(new VolumeError('ledger_failed', `${this.#path} is closed`));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ changes, resolve, reject });
      this.#writing ??= this.#writeAll();
    });
  }

  later(changes: readonly JournalChange[]): void {
    this.#later.push(...changes);
  }

  async close(): Promise<void> {
    if (this.#later.length > 0 && !this.#closed) await this.commit([]).catch(() => undefined);
    this.#closed = true;
    await this.#writing;
    await this.#file?.close();
    this.#file = undefined;
  }

  async #writeAll(): Promise<void> {
    // Lets commits of this turn join, and the caller store the promise before it is cleared below.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const group = this.#waiting;
      this.#waiting = [];
      const later = this.#later;
      this.#later = [];
      const changes = [...later, ...group.flatMap((commit) => commit.changes)];
      try {
        await this.#write(changes);
        for (const commit of group) commit.resolve();
      } catch (error) {
        const failure = new VolumeError('ledger_failed', writeFailure(this.#path, error), { cause: error });
        this.#later.unshift(...later);
        for (const commit of group) commit.reject(failure);
      }
    }
    // In the same turn as the look at what waits: a commit that comes a microtask later starts anew.
    this.#writing = undefined;
  }

  async #write(changes: readonly JournalChange[]): Promise<void> {
    this.#checkStillOurs();
    const next =
      this.#file === undefined || this.#appendedBytes > REWRITE_AFTER_BYTES ? new Map(this.#entries) : undefined;
    if (next !== undefined) {
      apply(next, changes);
      await this.#rewrite(next);
    } else {
      await this.#append(changes);
    }
    apply(this.#entries, changes);
  }

  /** Two writers would each forget the holders of the other: the one whose file was replaced stops for good. */
  #checkStillOurs(): void {
    const inode = statSync(this.#path, { throwIfNoEntry: false })?.ino;
    if (inode !== undefined && inode !== this.#inode)
      throw new Error('another process has opened it; stop one of the two');
  }

  async #append(changes: readonly JournalChange[]): Promise<void> {
    const file = this.#file;
    if (file === undefined) return;
    const line = Buffer.from(encodeGroup({ number: this.#number + 1, kind: 'changes', changes }));
    try {
      // Into the page cache, which is quicker than a trip to another thread; only the disk is waited for.
      appendFileSync(file.fd, line);
      await file.datasync();
    } catch (error) {
      // After a failed write or sync the kernel may have dropped what it had: this file is not written to again.
      this.#file = undefined;
      await file.close().catch(() => undefined);
      throw error;
    }
    this.#number += 1;
    this.#appendedBytes += line.length;
  }

  async #rewrite(entries: ReadonlyMap<string, Json>): Promise<void> {
    const old = this.#file;
    this.#file = undefined;
    await old?.close().catch(() => undefined);
    const number = this.#number + 1;
    const content = encodeGroup({ number, kind: 'all', changes: [...entries] });
    // Known as ours from the rename on: if what follows fails, the next commit must not take it for another process's.
    await writeFileDurably(this.#path, content, 0o600, (inode) => {
      this.#inode = inode;
    });
    this.#file = await open(this.#path, 'a', 0o600);
    this.#number = number;
    this.#appendedBytes = 0;
  }
}

function apply(entries: Map<string, Json>, changes: readonly JournalChange[]): void {
  for (const [key, value] of changes) {
    if (value === null) entries.delete(key);
    else entries.set(key, value);
  }
}

function writeFailure(path: string, error: unknown): string {
  return `cannot write ${path}, the record of which tasks use which volumes: ${errorText(error)}. Free or repair that disk`;
}

function fail(path: string, error: unknown): never {
  throw new VolumeError('ledger_failed', writeFailure(path, error), { cause: error });
}
