import { linkSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Random } from '../faults/random.ts';

/** Disks write sectors whole or not at all. */
const SECTOR_BYTES = 512;

interface Write {
  readonly kind: 'write';
  readonly offset: number;
  readonly data: Buffer;
  readonly at: number;
}
type Edit = Write | { readonly kind: 'truncate'; readonly size: number; readonly at: number };

/** Names that one call changed, at once; undefined removes one. */
interface Renaming {
  readonly names: readonly (readonly [name: string, node: DiskNode | undefined])[];
  readonly at: number;
}

/** What a name stands for. */
export type DiskNode = DiskFile | DiskDirectory;

/** How much of what was not synced a power cut leaves. */
export type Loss = 'everything' | 'nothing' | 'some';

/** A file, which may have several names. */
export class DiskFile {
  size = 0;
  durable: Buffer = Buffer.alloc(0);
  pending: Edit[] = [];

  edit(edit: Edit): void {
    this.pending.push(edit);
    this.size = edit.kind === 'truncate' ? edit.size : Math.max(this.size, edit.offset + edit.data.length);
  }

  sync(began: number): void {
    for (const edit of this.pending) if (edit.at < began) this.durable = applied(this.durable, edit);
    this.pending = this.pending.filter(({ at }) => at >= began);
  }

  /** Sizes and truncations last in their order; of the data behind them each sector may or may not. */
  afterCut(loss: Loss, random: Random): Buffer {
    if (loss === 'everything') return this.durable;
    const lasting = loss === 'nothing' ? this.pending.length : random.between(0, this.pending.length);
    const isTorn = loss === 'some' && random.next() < 0.5;
    let content = this.durable;
    for (const [index, edit] of this.pending.slice(0, lasting).entries()) {
      const isLast = index === lasting - 1;
      if (edit.kind === 'truncate' || loss === 'nothing' || !(isTorn || isLast)) content = applied(content, edit);
      else content = torn(content, edit, random);
    }
    return content;
  }
}

class DiskDirectory {
  readonly names = new Map<string, DiskNode>();
  readonly #durable = new Map<string, DiskNode>();
  #pending: Renaming[] = [];

  change(renaming: Renaming): void {
    apply(this.names, renaming);
    this.#pending.push(renaming);
  }

  sync(began: number): void {
    for (const renaming of this.#pending) if (renaming.at < began) apply(this.#durable, renaming);
    this.#pending = this.#pending.filter(({ at }) => at >= began);
  }

  /** Changes of names last in their order, as with every journalling filesystem. */
  afterCut(loss: Loss, random: Random): ReadonlyMap<string, DiskNode> {
    const lasting = { everything: 0, nothing: this.#pending.length, some: random.between(0, this.#pending.length) }[
      loss
    ];
    const names = new Map(this.#durable);
    for (const renaming of this.#pending.slice(0, lasting)) apply(names, renaming);
    return names;
  }
}

/**
 * A disk that keeps for sure only what was synced: data of a file with fsync or fdatasync of it, names with fsync of their
 * directory, which a file's own fsync does not make last.
 */
export class LossyDisk {
  readonly root = new DiskDirectory();

  find(path: readonly string[]): DiskNode | undefined {
    let node: DiskNode | undefined = this.root;
    for (const name of path) node = node instanceof DiskDirectory ? node.names.get(name) : undefined;
    return node;
  }

  create(path: readonly string[], kind: 'file' | 'directory', at: number): void {
    const [parent, name] = this.#place(path);
    parent.change({ names: [[name, kind === 'file' ? new DiskFile() : new DiskDirectory()]], at });
  }

  remove(path: readonly string[], at: number): void {
    const [parent, name] = this.#place(path);
    parent.change({ names: [[name, undefined]], at });
  }

  link(from: readonly string[], to: readonly string[], at: number): void {
    const [parent, name] = this.#place(to);
    parent.change({ names: [[name, this.#required(from)]], at });
  }

  rename(from: readonly string[], to: readonly string[], at: number): void {
    const [source, oldName] = this.#place(from);
    const [target, newName] = this.#place(to);
    if (source !== target) throw new Error(`${from.join('/')} is renamed to another directory: not modelled`);
    source.change({
      names: [
        [newName, this.#required(from)],
        [oldName, undefined],
      ],
      at,
    });
  }

  /** Writes what a power cut may leave now below `target`, which must exist. */
  writeAfterCut(target: string, loss: Loss, random: Random): void {
    const written = new Map<DiskFile, string>();
    const write = (directory: DiskDirectory, path: string): void => {
      for (const [name, node] of directory.afterCut(loss, random)) {
        const place = join(path, name);
        if (node instanceof DiskDirectory) {
          mkdirSync(place, { mode: 0o700 });
          write(node, place);
          continue;
        }
        const before = written.get(node);
        if (before === undefined) writeFileSync(place, node.afterCut(loss, random), { mode: 0o600 });
        else linkSync(before, place);
        written.set(node, place);
      }
    };
    write(this.root, target);
  }

  #required(path: readonly string[]): DiskNode {
    const node = this.find(path);
    if (node === undefined) throw new Error(`${path.join('/')} is not there in the model of the disk`);
    return node;
  }

  #place(path: readonly string[]): readonly [DiskDirectory, string] {
    const parent = this.#required(path.slice(0, -1));
    const name = path.at(-1);
    if (!(parent instanceof DiskDirectory) || name === undefined) throw new Error(`${path.join('/')} has no directory`);
    return [parent, name];
  }
}

function apply(names: Map<string, DiskNode>, renaming: Renaming): void {
  for (const [name, node] of renaming.names) {
    if (node === undefined) names.delete(name);
    else names.set(name, node);
  }
}

function applied(content: Buffer, edit: Edit): Buffer {
  if (edit.kind === 'truncate') return resized(content, edit.size);
  const next = resized(content, Math.max(content.length, edit.offset + edit.data.length));
  edit.data.copy(next, edit.offset);
  return next;
}

/** Its size lasts; the sectors that it touches are as before, zero beyond the old end, or written. */
function torn(content: Buffer, { offset, data }: Write, random: Random): Buffer {
  const end = offset + data.length;
  const next = resized(content, Math.max(content.length, end));
  for (let from = offset; from < end; ) {
    const to = Math.min(end, (Math.floor(from / SECTOR_BYTES) + 1) * SECTOR_BYTES);
    if (random.next() < 0.5) data.copy(next, from, from - offset, to - offset);
    from = to;
  }
  // Or the size did not last beyond some sector.
  if (random.next() < 0.5 || end <= content.length) return next;
  return next.subarray(0, random.between(content.length, end));
}

function resized(content: Buffer, size: number): Buffer {
  const next = Buffer.alloc(size);
  content.copy(next, 0, 0, Math.min(size, content.length));
  return next;
}
