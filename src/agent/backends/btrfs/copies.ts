import type { Readable } from 'node:stream';
import type { Clock } from '../../../kit/clock.ts';
import type { DatasetId } from '../../../kit/ids.ts';
import type { Btrfs } from '../../host/btrfs.ts';
import { receiveSubvolume, sendSubvolume } from '../../host/btrfs-stream.ts';
import type { BtrfsTree } from '../../host/btrfs-tree.ts';
import { BackendError, type CopiedRecord, type CopyEngine, type FetchedCopy, type GivenCopy } from '../backend.ts';
import type { PoolLayout } from '../pool-layout.ts';
import type { PoolSteps } from '../pool-steps.ts';
import { readVolumeRecord, writeFirstVolumeRecord } from '../volume-record.ts';
import type { Quota } from './quota.ts';
import type { Compression } from './settings.ts';
import { bytesPath } from './subvolumes.ts';

interface CopyParts {
  readonly layout: PoolLayout;
  readonly steps: PoolSteps;
  readonly btrfs: Btrfs;
  readonly tree: BtrfsTree;
  readonly quota: Quota;
  readonly clock: Clock;
  readonly compressionOf: (profile: string | null) => Compression;
}

/** Copies of subvolumes into other pools, by send and receive. */
export class BtrfsCopies implements CopyEngine {
  readonly #parts: CopyParts;

  constructor(parts: CopyParts) {
    this.#parts = parts;
  }

  async give(datasetId: DatasetId, signal: AbortSignal): Promise<GivenCopy> {
    const { layout, steps, btrfs, quota } = this.#parts;
    return await steps.explain('copy', datasetId, signal, async () => {
      const volume = await steps.detachedDirectory('copy', datasetId);
      const { sizeBytes, profile, name } = await readVolumeRecord(volume, datasetId);
      await this.#requireOneSubvolume(datasetId, bytesPath(volume));
      const directory = await layout.newDirectory(datasetId);
      const close = (): Promise<void> => layout.removeTree(directory);
      try {
        // The kernel lets nobody write to a subvolume that is being sent: it would hold up whoever gets the volume next.
        const path = bytesPath(directory);
        await quota.withRoom(bytesPath(volume), () => btrfs.snapshot(bytesPath(volume), path, 'read-only'));
        const { usedBytes } = await quota.usage(path, 0);
        const { bytes, ended } = await sendSubvolume(path);
        return {
          record: { sizeBytes, profile, name },
          totalBytes: usedBytes,
          bytes,
          close: async () => {
            bytes.destroy();
            await ended;
            await close();
          },
        };
      } catch (error) {
        await close().catch(() => undefined);
        throw error;
      }
    });
  }

  async fetch(
    datasetId: DatasetId,
    id: string,
    { sizeBytes, profile, name }: CopiedRecord,
    bytes: Readable,
    signal: AbortSignal,
  ): Promise<void> {
    const { layout, steps, btrfs, quota, compressionOf } = this.#parts;
    const isCopy = async (directory: string): Promise<boolean> =>
      (await readVolumeRecord(directory, datasetId)).copy === id;
    await steps.fetch(datasetId, signal, isCopy, async (directory) => {
      const received = await layout.newDirectory(datasetId);
      try {
        await receiveSubvolume(received, bytes, signal);
        await writeFirstVolumeRecord(directory, {
          ...{ datasetId, sizeBytes, filesystem: 'btrfs', profile, name, copy: id },
        });
        const path = bytesPath(directory);
        // What was received stays what was sent: it would have to forget that to become writable.
        await btrfs.snapshot(bytesPath(received), path, 'writable');
        await quota.limit(path, sizeBytes);
        await quota.withRoom(path, () => btrfs.setCompression(path, compressionOf(profile)));
      } finally {
        await layout.removeTree(received).catch(() => undefined);
      }
    });
  }

  async find(datasetId: DatasetId): Promise<FetchedCopy | undefined> {
    const { layout, steps } = this.#parts;
    return await steps.explain('look at', datasetId, null, async () => {
      const place = await layout.find(datasetId);
      if (place.kind !== 'detached') return undefined;
      const { copy, sizeBytes } = await readVolumeRecord(place.directory, datasetId);
      return copy === undefined ? undefined : { id: copy, sizeBytes };
    });
  }

  /** A stream has none of the subvolumes that users made within a volume: they would be lost. */
  async #requireOneSubvolume(datasetId: DatasetId, path: string): Promise<void> {
    const { btrfs, tree } = this.#parts;
    const id = await btrfs.subvolumeId(path);
    if (id === undefined) {
      const text = `volume ${datasetId}: ${path} is missing or no subvolume; restore it from a copy`;
      throw new BackendError('volume_lost', text);
    }
    const inner = await tree.subvolumesWithin(path, id);
    if (inner.length === 0) return;
    const text =
      `volume ${datasetId} has ${inner.length} subvolumes within it, which cannot be copied into another pool: move the dataset to a ` +
      'node of its pool, and make plain directories of them there';
    throw new BackendError('conflict', text);
  }
}
