import { mkdir, readdir } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import type { Clock } from '../../../kit/clock.ts';
import type { DatasetId } from '../../../kit/ids.ts';
import type { Btrfs } from '../../host/btrfs.ts';
import { receiveSubvolumes, sendSubvolumes } from '../../host/btrfs-stream.ts';
import type { BtrfsTree } from '../../host/btrfs-tree.ts';
import {
  BackendError,
  type CopiedRecord,
  type CopyBases,
  type CopyEngine,
  type FetchedCopy,
  type GivenCopy,
} from '../backend.ts';
import type { PoolLayout } from '../pool-layout.ts';
import type { PoolSteps } from '../pool-steps.ts';
import { readVolumeRecord, writeFirstVolumeRecord } from '../volume-record.ts';
import type { ActiveSends } from './active-sends.ts';
import type { SendPlan, VolumeBases } from './bases.ts';
import type { Quota } from './quota.ts';
import type { Compression } from './settings.ts';
import { basePath, besideAnother, bytesPath } from './subvolumes.ts';

const ALL: SendPlan = { common: null, along: null, parent: null };

interface CopyParts {
  readonly layout: PoolLayout;
  readonly steps: PoolSteps;
  readonly btrfs: Btrfs;
  readonly tree: BtrfsTree;
  readonly quota: Quota;
  readonly bases: VolumeBases;
  readonly sends: ActiveSends;
  readonly clock: Clock;
  readonly compressionOf: (profile: string | null) => Compression;
}

/** Copies of subvolumes into other pools, by send and receive. */
export class BtrfsCopies implements CopyEngine {
  readonly #parts: CopyParts;

  constructor(parts: CopyParts) {
    this.#parts = parts;
  }

  async bases(datasetId: DatasetId): Promise<CopyBases> {
    const { steps, bases } = this.#parts;
    return await steps.explain('look at', datasetId, null, () => bases.known(datasetId));
  }

  async give(datasetId: DatasetId, signal: AbortSignal, asked?: CopyBases): Promise<GivenCopy> {
    const { layout, steps, btrfs, quota, bases, sends } = this.#parts;
    return await steps.explain('copy', datasetId, signal, async () => {
      const volume = await steps.detachedDirectory('copy', datasetId);
      const { sizeBytes, profile, name } = await readVolumeRecord(volume, datasetId);
      await this.#requireOneSubvolume(datasetId, bytesPath(volume));
      await bases.review(datasetId, volume);
      const plan = asked === undefined ? ALL : await bases.plan(datasetId, volume, asked);
      const { common, along, parent } = plan;
      const directory = await layout.newDirectory(datasetId);
      const close = (): Promise<void> => layout.removeTree(directory);
      try {
        // The kernel lets nobody write to a subvolume that is being sent: it would hold up whoever gets the volume next.
        const path = along === null ? bytesPath(directory) : besideAnother(directory);
        await quota.withRoom(bytesPath(volume), () => btrfs.snapshot(bytesPath(volume), path, 'read-only'));
        const { usedBytes } = await quota.usage(path, 0);
        const itself = { path, against: parent?.path ?? null };
        const sent =
          along === null
            ? await sendSubvolumes(itself)
            : await sendSubvolumes({ path: along.path, against: common?.path ?? null }, itself);
        const read = [common, along].flatMap((version) => version?.id ?? []);
        sends.add(read, sent);
        const { bytes, ended } = sent;
        return {
          record: { sizeBytes, profile, name },
          // How much differs is not known before it was read.
          totalBytes: common === null ? usedBytes : null,
          against: common?.identity ?? null,
          along: along?.identity ?? null,
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
    along: string | null = null,
  ): Promise<void> {
    const { steps, btrfs, quota, compressionOf } = this.#parts;
    const isCopy = async (directory: string): Promise<boolean> =>
      (await readVolumeRecord(directory, datasetId)).copy === id;
    await steps.fetch(datasetId, signal, isCopy, async (directory) => {
      const received = basePath(directory);
      await mkdir(received, { mode: 0o700 });
      await receiveSubvolumes(received, bytes, signal);
      await writeFirstVolumeRecord(directory, {
        ...{ datasetId, sizeBytes, filesystem: 'btrfs', profile, name, copy: id },
      });
      const path = bytesPath(directory);
      // What was received stays what was sent: it would have to forget that to become writable.
      const volume = along === null ? bytesPath(received) : besideAnother(received);
      await btrfs.snapshot(volume, path, 'writable');
      await quota.limit(path, sizeBytes);
      await quota.withRoom(path, () => btrfs.setCompression(path, compressionOf(profile)));
      await this.#keepOnly(along, received);
    });
  }

  /** Leaves of what was received the version that came along. Anything else goes: nothing but its name tells what it is. */
  async #keepOnly(along: string | null, received: string): Promise<void> {
    const { layout, btrfs } = this.#parts;
    const version = along === null ? undefined : await btrfs.readOnlyVersion(bytesPath(received));
    const id = version === undefined ? undefined : await btrfs.subvolumeId(besideAnother(received));
    if (version === undefined || version.identity !== along || id === undefined)
      return await layout.removeTree(received);
    await btrfs.destroySubvolume(received, id);
    if ((await readdir(received)).length !== 1) await layout.removeTree(received);
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
