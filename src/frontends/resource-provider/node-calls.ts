import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Static, Type } from 'typebox';
import type { Clock } from '../../kit/clock.ts';
import { errorText } from '../../kit/coded-error.ts';
import { orAbort, withDeadline } from '../../kit/deadline.ts';
import { type NodeId, UUID_V4_PATTERN } from '../../kit/ids.ts';
import { KeyedQueue } from '../../kit/keyed-queue.ts';
import type { Logger } from '../../kit/logger.ts';
import { targetProblem } from '../../kit/mount-target.ts';
import { LastingHolders } from '../../volumes/lasting-holders.ts';
import { VolumeError } from '../../volumes/volume-error.ts';
import type { Volumes } from '../../volumes/volumes.ts';

const DiskBody = Type.Object(
  {
    volume: Type.String(),
    dataset_id: Type.String({ pattern: UUID_V4_PATTERN }),
    root: Type.String(),
    timeout_ms: Type.Integer({ minimum: 1, maximum: 3_600_000 }),
  },
  { additionalProperties: false },
);
type DiskBody = Static<typeof DiskBody>;
const NoBody = Type.Object({}, { additionalProperties: false });

/** `POST <path>` of the node agent's local API. */
interface NodeCall {
  readonly path: string;
  readonly body: typeof DiskBody | typeof NoBody;
  /** `body` fits the schema. The signal aborts when the client goes away. */
  readonly answer: (body: unknown, signal: AbortSignal) => Promise<object>;
}

/** Places of volumes in the tree of disks that Mesos looks into. */
export interface DiskPlaces {
  /** Shows what is at `path` at `<root>/<id>/target`, a mount of its own, and resolves with that. Again changes nothing. */
  open(id: string, path: string, root: string): Promise<string>;
  close(id: string): Promise<void>;
  /** Closes all but those of `ids`, as after a crash. */
  closeOthers(ids: ReadonlySet<string>): Promise<void>;
}

export interface NodeCallsOptions {
  readonly volumes: Volumes;
  readonly nodeId: NodeId;
  /** New at every boot of this machine: what was mounted in earlier ones is not mounted any more. */
  readonly bootId: string;
  /** Undefined when this process may not mount. */
  readonly places: DiskPlaces | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

const PREFIX = 'mesos-rp/';
const RELEASE_TIMEOUT_MS = 10_000;

/** The node agent's part of the resource provider: holds the volumes of disks and mounts them where Mesos looks. */
export function resourceProviderCalls(options: NodeCallsOptions): readonly NodeCall[] {
  const disks = new Disks(options);
  const call = (name: string, work: (body: DiskBody, soon: AbortSignal) => Promise<object>): NodeCall => ({
    path: `/v1/resource-provider/${name}`,
    body: DiskBody,
    answer: (body, signal) => {
      const disk = body as DiskBody;
      return withDeadline(options.clock, disk.timeout_ms, `${name} of a disk`, signal, (soon) => work(disk, soon));
    },
  });
  return [
    {
      path: '/v1/resource-provider/node',
      body: NoBody,
      answer: () => Promise.resolve({ node_uuid: options.nodeId, mounts: options.places !== undefined }),
    },
    call('mount', (disk, soon) => disks.mount(disk, soon)),
    call('wipe', (disk, soon) => disks.wipe(disk, soon)),
    call('unmount', (disk) => disks.unmount(disk)),
  ];
}

class Disks {
  readonly #options: NodeCallsOptions;
  readonly #holders: LastingHolders;
  readonly #queue = new KeyedQueue<string>();

  constructor(options: NodeCallsOptions) {
    const { volumes, bootId, clock, logger, places } = options;
    this.#options = options;
    this.#holders = new LastingHolders({ volumes, prefix: PREFIX, bootId, clock, logger });
    // What an earlier process mounted and did not answer, or did not end.
    const needed = volumes
      .list()
      .flatMap(({ datasetId, holders }) =>
        holders.some(({ holderId }) => this.#holders.held(holderId).length > 0) ? [datasetId] : [],
      );
    places?.closeOthers(new Set(needed)).catch((error: unknown) => {
      logger.warn({ error: errorText(error) }, 'could not take away mounts of disks of an earlier time');
    });
  }

  /** The disk is held, with its lease, from its first mount until it is destroyed: Mesos never says that it is done with it. */
  mount(disk: DiskBody, signal: AbortSignal): Promise<{ path: string }> {
    return this.#queue.run(disk.dataset_id, async () => ({ path: await this.#mounted(disk, signal) }));
  }

  /** Removes all that is in the volume. */
  wipe(disk: DiskBody, signal: AbortSignal): Promise<object> {
    return this.#queue.run(disk.dataset_id, async () => {
      const path = await this.#mounted(disk, signal);
      for (const name of await readdir(path)) {
        signal.throwIfAborted();
        await orAbort(rm(join(path, name), { recursive: true, force: true }), signal);
      }
      return {};
    });
  }

  /** Ends the mount and gives the volume back. One that is not mounted is fine. */
  unmount(disk: DiskBody): Promise<object> {
    const { places } = this.#options;
    return this.#queue.run(disk.dataset_id, async () => {
      try {
        await places?.close(disk.dataset_id);
      } catch (error) {
        throw new VolumeError('in_use', `disk ${disk.dataset_id} is still used: ${errorText(error)}`);
      }
      await this.#holders.release(`${PREFIX}${disk.volume}`, RELEASE_TIMEOUT_MS);
      return {};
    });
  }

  async #mounted({ volume, dataset_id: id, root }: DiskBody, signal: AbortSignal): Promise<string> {
    const { places } = this.#options;
    if (places === undefined)
      throw new VolumeError('refused', `disk ${id} can be mounted by a node agent that runs as root only`);
    const problem = targetProblem(root);
    if (problem !== undefined) throw new VolumeError('refused', `${root} cannot be the root of disks: it ${problem}`);
    const holder = { id: `${PREFIX}${volume}`, detail: `disk ${id} of the Mesos resource provider` };
    let shown = '';
    await this.#holders.acquire(holder, { name: volume, create: 'never', mode: 'rw' }, signal, async (acquired) => {
      if (acquired.datasetId !== id)
        throw new VolumeError('refused', `volume ${volume} is dataset ${acquired.datasetId} now, and not disk ${id}`);
      shown = await places.open(id, acquired.path, root);
    });
    return shown;
  }
}
