import { statfs } from 'node:fs/promises';
import { errorText } from '../../../kit/coded-error.ts';
import type { DatasetId } from '../../../kit/ids.ts';
import type { Logger } from '../../../kit/logger.ts';
import type { Btrfs } from '../../host/btrfs.ts';
import type { CopyBases } from '../backend.ts';
import type { PoolLayout } from '../pool-layout.ts';
import { readSnapshotRecord } from '../snapshot-record.ts';
import {
  candidateOf,
  commonOf,
  hasRoom,
  isCheapAlong,
  isWorthKeeping,
  knownOf,
  newerOf,
  type PoolRoom,
  type PoolVersion,
} from './base-policy.ts';
import type { Quota } from './quota.ts';
import { basePath, bytesPath } from './subvolumes.ts';

interface BaseSources {
  readonly layout: PoolLayout;
  readonly btrfs: Btrfs;
  readonly quota: Quota;
  readonly log: Logger;
}

/** How a volume is sent. */
export interface SendPlan {
  /** What the other pool has already. */
  readonly common: PoolVersion | null;
  /** What goes along, before the volume. */
  readonly along: PoolVersion | null;
  /** What the volume itself is sent against. */
  readonly parent: PoolVersion | null;
}

/**
 * Versions of volumes that make copies between pools short: snapshots that users took, and one beside the volume that came along when it was
 * copied here. The latter is a cache: to lose it costs a full copy.
 */
export class VolumeBases {
  readonly #sources: BaseSources;

  constructor(sources: BaseSources) {
    this.#sources = sources;
  }

  /** What another pool is to know of this one, which has no such volume. */
  async known(datasetId: DatasetId): Promise<CopyBases> {
    const { quota } = this.#sources;
    return {
      known: knownOf(await this.#snapshots(datasetId)),
      keepsOne: quota.countsShares && hasRoom(await this.#room()),
    };
  }

  /** How to send the volume in `directory`, which is at rest. */
  async plan(datasetId: DatasetId, directory: string, bases: CopyBases): Promise<SendPlan> {
    const versions = [...(await this.#snapshots(datasetId)), ...(await this.#beside(directory))];
    const common = commonOf(versions, bases);
    const candidate = candidateOf(versions, bases);
    const along = candidate !== null && (await this.#isCheap(candidate, directory)) ? candidate : null;
    return { common, along, parent: newerOf(common, along) };
  }

  /** Takes away what is beside the volume in `directory` when it is not worth its room. It never keeps the volume from anything. */
  async review(datasetId: DatasetId, directory: string): Promise<void> {
    const { layout, quota, log, btrfs } = this.#sources;
    try {
      const base = bytesPath(basePath(directory));
      if ((await btrfs.subvolumeId(base)) === undefined) return;
      const [theirs, ours] = [await quota.shares(base), await quota.shares(bytesPath(directory))];
      if (isWorthKeeping(theirs, ours, await this.#room())) return;
      await layout.removeTree(basePath(directory));
      log.info({ datasetId }, 'base of copies dropped: it took too much room');
    } catch (error) {
      log.warn({ datasetId, problem: errorText(error) }, 'base of copies cannot be looked at');
    }
  }

  async #isCheap(version: PoolVersion, directory: string): Promise<boolean> {
    const { quota } = this.#sources;
    const [theirs, ours] = [await quota.shares(version.path), await quota.shares(bytesPath(directory))];
    return theirs !== undefined && ours !== undefined && isCheapAlong(theirs, ours);
  }

  async #snapshots(datasetId: DatasetId): Promise<readonly PoolVersion[]> {
    const { layout } = this.#sources;
    const versions: PoolVersion[] = [];
    for (const snapshotId of await layout.listSnapshots()) {
      const directory = await layout.findSnapshot(snapshotId);
      // One that cannot be read, or is just being destroyed, is no base.
      const record =
        directory === undefined ? undefined : await readSnapshotRecord(directory, snapshotId).catch(() => undefined);
      if (directory !== undefined && record?.datasetId === datasetId)
        versions.push(...(await this.#version(bytesPath(directory))));
    }
    return versions;
  }

  async #beside(directory: string): Promise<readonly PoolVersion[]> {
    return await this.#version(bytesPath(basePath(directory)));
  }

  async #version(path: string): Promise<readonly PoolVersion[]> {
    const version = await this.#sources.btrfs.readOnlyVersion(path);
    return version === undefined ? [] : [{ path, ...version }];
  }

  async #room(): Promise<PoolRoom> {
    return await statfs(this.#sources.layout.rootPath);
  }
}
