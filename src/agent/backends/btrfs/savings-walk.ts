import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Clock } from '../../../kit/clock.ts';
import { type BtrfsItem, type BtrfsKey, type BtrfsTree, FIRST_KEY, keyAfter, LAST_KEY } from '../../host/btrfs-tree.ts';

/** What the bytes of a pool's volumes and snapshots take, as `compsize` counts it. */
export interface Savings {
  /** All files together, each block as often as a file has it, before compression. */
  readonly referencedBytes: number;
  /** Each block once, before compression. */
  readonly uncompressedBytes: number;
  /** Each block once, as stored. */
  readonly storedBytes: number;
}

export interface WalkSources {
  readonly tree: BtrfsTree;
  readonly clock: Clock;
  readonly rootPath: string;
  /** Ids of the subvolumes that count. */
  readonly subvolumes: () => Promise<readonly number[]>;
  /** Something that changes with every change of the filesystem; undefined when the kernel does not say. */
  readonly generation: () => Promise<string | undefined>;
}

/** `struct btrfs_file_extent_item` of `<linux/btrfs_tree.h>`: types, and where the fields are. */
const EXTENT_DATA = 108;
const INLINE = 0;
const RAM_BYTES_AT = 8;
const TYPE_AT = 20;
const INLINE_DATA_AT = 21;
const DISK_START_AT = 21;
const DISK_BYTES_AT = 29;
const FILE_BYTES_AT = 45;
const SECTOR_BYTES = 4096;

/** A new walk begins this long after the last, or after twenty times as long as it took, whichever is more. */
const PAUSE_MS = 1_000;
const PAUSE_FACTOR = 20;
/** About 100 MB of memory while a walk is under way. */
const MOST_EXTENTS = 2_000_000;

interface Walk {
  readonly waiting: number[];
  readonly generation: string | undefined;
  readonly seen: Set<number>;
  readonly sum: { referencedBytes: number; uncompressedBytes: number; storedBytes: number };
  place: BtrfsKey;
  spentMs: number;
}

/**
 * Counts what compression and sharing save by walking through the metadata of the pool. Nothing runs by itself: each
 * call does a little of the walk, so that who asks for figures also sets the pace.
 */
export class SavingsWalk {
  readonly #sources: WalkSources;
  #walk: Walk | undefined;
  #last:
    | { readonly savings: Savings | null; readonly generation: string | undefined; readonly notBeforeMs: number }
    | undefined;
  #running = false;

  constructor(sources: WalkSources) {
    this.#sources = sources;
  }

  /** Goes on for about `budgetMs`. Resolves with the last whole walk's result; null before it, or with too many extents. */
  async advance(budgetMs: number, signal: AbortSignal): Promise<Savings | null> {
    if (!this.#running) {
      this.#running = true;
      try {
        await this.#advance(budgetMs, signal);
      } finally {
        this.#running = false;
      }
    }
    return this.#last?.savings ?? null;
  }

  async #advance(budgetMs: number, signal: AbortSignal): Promise<void> {
    const { clock, rootPath } = this.#sources;
    const walk = this.#walk ?? (await this.#begin());
    if (walk === undefined) return;
    this.#walk = walk;
    const startedMs = clock.monotonicMs();
    const directory = await open(rootPath, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      while (walk.waiting.length > 0 && walk.seen.size < MOST_EXTENTS) {
        signal.throwIfAborted();
        await this.#step(directory.fd, walk);
        if (clock.monotonicMs() - startedMs >= budgetMs) break;
      }
    } finally {
      walk.spentMs += clock.monotonicMs() - startedMs;
      await directory.close();
    }
    const tooMany = walk.seen.size >= MOST_EXTENTS;
    if (walk.waiting.length > 0 && !tooMany) return;
    this.#walk = undefined;
    this.#last = {
      savings: tooMany ? null : { ...walk.sum },
      generation: walk.generation,
      notBeforeMs: clock.monotonicMs() + Math.max(PAUSE_MS, walk.spentMs * PAUSE_FACTOR),
    };
  }

  async #begin(): Promise<Walk | undefined> {
    const { clock, generation, subvolumes } = this.#sources;
    if (this.#last !== undefined && clock.monotonicMs() < this.#last.notBeforeMs) return undefined;
    const now = await generation();
    if (this.#last !== undefined && now !== undefined && now === this.#last.generation) return undefined;
    return {
      waiting: [...(await subvolumes())],
      generation: now,
      seen: new Set(),
      sum: { referencedBytes: 0, uncompressedBytes: 0, storedBytes: 0 },
      place: FIRST_KEY,
      spentMs: 0,
    };
  }

  async #step(fd: number, walk: Walk): Promise<void> {
    const id = walk.waiting.at(-1);
    if (id === undefined) return;
    const items = await this.#sources.tree.items(fd, id, walk.place, LAST_KEY);
    const last = items?.at(-1);
    if (items === undefined || last === undefined) {
      walk.waiting.pop();
      walk.place = FIRST_KEY;
      return;
    }
    for (const item of items) if (item.type === EXTENT_DATA) count(item, walk);
    walk.place = keyAfter(last);
  }
}

function count({ bytes }: BtrfsItem, { seen, sum }: Walk): void {
  const ramBytes = Number(bytes.readBigUInt64LE(RAM_BYTES_AT));
  if (bytes.readUInt8(TYPE_AT) === INLINE) {
    sum.referencedBytes += ramBytes;
    sum.uncompressedBytes += ramBytes;
    sum.storedBytes += bytes.length - INLINE_DATA_AT;
    return;
  }
  // In units of a sector most fit into what the engine keeps as a small integer.
  const start = Number(bytes.readBigUInt64LE(DISK_START_AT)) / SECTOR_BYTES;
  if (start === 0) return;
  sum.referencedBytes += Number(bytes.readBigUInt64LE(FILE_BYTES_AT));
  if (seen.has(start)) return;
  seen.add(start);
  sum.uncompressedBytes += ramBytes;
  sum.storedBytes += Number(bytes.readBigUInt64LE(DISK_BYTES_AT));
}
