import type { DatasetInspection } from '../../api/inspection.ts';
import { ClientError } from '../../client/flocker-client.ts';
import { type BackoffPolicy, backoffMs } from '../../kit/backoff.ts';
import { type Clock, pause } from '../../kit/clock.ts';
import { errorCode, errorText } from '../../kit/coded-error.ts';
import { DeadlineExceeded, withDeadline } from '../../kit/deadline.ts';
import { type DatasetId, type NodeId, parseDatasetId } from '../../kit/ids.ts';
import type { Logger } from '../../kit/logger.ts';
import { formatSize } from '../../kit/sizes.ts';
import { metadataFor } from '../../volumes/spec-notes.ts';
import { type NodeAgent, NodeAgentError } from './node-agent.ts';
import type { Disk, Work, WorkOutcome } from './provider-state.ts';
import { spareBytesOf } from './room.ts';
import type { ProviderClient } from './storage-look.ts';

export interface StorageWorkOptions {
  readonly client: ProviderClient;
  readonly node: NodeAgent;
  readonly nodeId: () => Promise<NodeId>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  /** After this an operation has failed, milliseconds. */
  readonly operationTimeoutMs: number;
  /** After this a PUBLISH_RESOURCES is answered FAILED, milliseconds. */
  readonly publishTimeoutMs: number;
}

const BACKOFF: BackoffPolicy = { firstMs: 100, factor: 2, longestMs: 5_000 };
/** A deleted volume that is not gone by then is still deleted: the operation has succeeded. */
const GONE_WITHIN_MS = 60_000;

/** Something that will not get better by waiting. */
class Hopeless extends Error {
  readonly isFull: boolean;
  constructor(message: string, isFull = false) {
    super(message);
    this.isFull = isFull;
  }
}

/**
 * What operations do to the storage, over the control service and the node agent. While one of them is away it waits and
 * tries again until its deadline. Everything can be done again. Fails only with the signal's reason.
 */
export class StorageWork {
  readonly #options: StorageWorkOptions;

  constructor(options: StorageWorkOptions) {
    this.#options = options;
  }

  async perform(work: Work, signal: AbortSignal): Promise<WorkOutcome> {
    try {
      await this.#patiently(work.kind, this.#options.operationTimeoutMs, signal, (soon) => this.#perform(work, soon));
      return { ok: true };
    } catch (error) {
      signal.throwIfAborted();
      // The answer to the deletion may be what got lost. A disk whose volume is gone must not be on offer again.
      if (work.kind === 'destroy' && (await this.#isDeleted(work.disk.id, signal))) return { ok: true };
      return { ok: false, message: errorText(error), full: isFull(error), doubtful: work.kind === 'make' };
    }
  }

  /** Mounts all; false, with the reasons in the log, when one of them cannot be mounted in time. */
  async publish(disks: readonly Disk[], signal: AbortSignal): Promise<boolean> {
    const { node, logger, clock, publishTimeoutMs } = this.#options;
    const untilMs = clock.monotonicMs() + publishTimeoutMs;
    const all = await Promise.allSettled(
      disks.map((disk) =>
        this.#patiently('mounting a disk', publishTimeoutMs, signal, (soon) =>
          node.mount(disk, Math.max(1, untilMs - clock.monotonicMs()), soon),
        ),
      ),
    );
    signal.throwIfAborted();
    for (const [place, result] of all.entries()) {
      if (result.status === 'rejected')
        logger.warn(
          { disk: disks[place]?.id, volume: disks[place]?.volume, error: errorText(result.reason) },
          'could not mount a disk',
        );
    }
    return all.every(({ status }) => status === 'fulfilled');
  }

  /** Deletes a dataset that was never handed out, however long it takes. */
  async doom(datasetId: string, signal: AbortSignal): Promise<void> {
    const id = parseDatasetId(datasetId);
    if (id === undefined) return;
    await this.#patiently('deleting a volume', Number.POSITIVE_INFINITY, signal, (soon) => this.#delete(id, soon));
  }

  async #perform(work: Work, signal: AbortSignal): Promise<void> {
    const { node, operationTimeoutMs } = this.#options;
    switch (work.kind) {
      case 'make':
        return this.#make(work, signal);
      case 'adopt':
        return this.#adopt(work.datasetId, signal);
      case 'wipe':
        for (const disk of work.disks) await node.wipe(disk, operationTimeoutMs, signal);
        return;
      case 'destroy':
        await node.unmount(work.disk, operationTimeoutMs, signal);
        return this.#destroy(work.disk.id, signal);
      default:
        return work satisfies never;
    }
  }

  async #make(work: Extract<Work, { kind: 'make' }>, signal: AbortSignal): Promise<void> {
    const { client } = this.#options;
    const id = knownId(work.datasetId);
    const primary = await this.#options.nodeId();
    const { volume: name, profile, sizeBytes } = work;
    const { datasets } = await client.findByName(name, signal);
    if (!datasets.some((dataset) => dataset.dataset_id === id)) {
      const spareBytes = await this.#spareBytes(primary, signal);
      if (spareBytes < sizeBytes) throw full(name, sizeBytes, spareBytes);
      const metadata = metadataFor({ name, profile, create: 'auto', mode: 'rw' });
      await client
        .createDataset({ primary, datasetId: id, maximumSizeBytes: sizeBytes, metadata }, { kind: 'none' }, signal)
        .catch((error: unknown) => {
          // An earlier try was heard, and its answer was lost.
          if (!(error instanceof ClientError && error.code === 'id_in_use')) throw error;
        });
      // Another agent may have taken the same room at the same time: then both give it back, and nobody was promised it.
      if ((await this.#spareBytes(primary, signal)) < 0) throw full(name, sizeBytes, 0);
    }
    await client.waitUntilMounted(id, primary, () => undefined, signal);
  }

  async #spareBytes(primary: NodeId, signal: AbortSignal): Promise<number> {
    const { client } = this.#options;
    const [view, inspections] = await Promise.all([client.storageState(signal), client.inspectDatasets(signal)]);
    const spareBytes = spareBytesOf(view, inspections ?? [], primary);
    if (spareBytes !== undefined) return spareBytes;
    throw new NodeAgentError('away', `node ${primary} has not reported its pool yet`);
  }

  async #adopt(datasetId: string, signal: AbortSignal): Promise<void> {
    const all = await this.#options.client.inspectDatasets(signal);
    if (isGone(all, datasetId)) throw new Hopeless(`volume ${datasetId} is not there any more`);
  }

  /** Asks however long it takes: until it is known, nothing true can be said. */
  async #isDeleted(datasetId: string, signal: AbortSignal): Promise<boolean> {
    const id = parseDatasetId(datasetId);
    if (id === undefined) return false;
    const look = (soon: AbortSignal): Promise<DatasetInspection[] | undefined> =>
      this.#options.client.inspectDatasets(soon);
    return isGone(await this.#patiently('a deleted volume', Number.POSITIVE_INFINITY, signal, look), id);
  }

  async #destroy(datasetId: string, signal: AbortSignal): Promise<void> {
    const { client, clock } = this.#options;
    const id = knownId(datasetId);
    await this.#delete(id, signal);
    await withDeadline(clock, GONE_WITHIN_MS, 'the deletion', signal, (soon) => client.waitUntilGone(id, soon)).catch(
      (error: unknown) => {
        if (!(error instanceof DeadlineExceeded) || signal.aborted) throw error;
      },
    );
  }

  async #delete(id: DatasetId, signal: AbortSignal): Promise<void> {
    try {
      await this.#options.client.deleteDataset(id, { kind: 'none' }, signal);
    } catch (error) {
      if (!(error instanceof ClientError && (error.code === 'not_found' || error.code === 'deleted'))) throw error;
    }
  }

  /** Repeats `work` while what it needs is away. */
  async #patiently<T>(
    what: string,
    timeoutMs: number,
    signal: AbortSignal,
    work: (soon: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { clock, random, logger } = this.#options;
    let why: unknown;
    const attempts = async (soon: AbortSignal): Promise<T> => {
      for (let attempt = 0; ; attempt += 1) {
        try {
          return await work(soon);
        } catch (error) {
          if (soon.aborted || !passes(error)) throw error;
          if (why === undefined) logger.info({ what, reason: errorText(error) }, 'waiting for the storage');
          why = error;
          await pause(clock, backoffMs(BACKOFF, attempt, random), soon);
        }
      }
    };
    try {
      if (!Number.isFinite(timeoutMs)) return await attempts(signal);
      return await withDeadline(clock, timeoutMs, what, signal, attempts);
    } catch (error) {
      // What it waited for says more than that it waited.
      if (error instanceof DeadlineExceeded && why !== undefined && !signal.aborted)
        throw new Error(`${errorText(error)}: ${errorText(why)}`, { cause: error });
      throw error;
    }
  }
}

function isGone(all: readonly DatasetInspection[] | undefined, datasetId: string): boolean {
  const found = all?.find(({ configuration }) => configuration.dataset_id.toLowerCase() === datasetId);
  return found === undefined || found.configuration.deleted;
}

function passes(error: unknown): boolean {
  if (error instanceof NodeAgentError) return error.code === 'away';
  return (
    error instanceof ClientError &&
    (error.code === 'unreachable' || error.code === 'server_failed' || error.code === 'lease_held')
  );
}

function isFull(error: unknown): boolean {
  if (error instanceof Hopeless) return error.isFull;
  return error instanceof ClientError && error.code === 'needs_action' && errorCode(error.cause) === 'no_space';
}

function full(name: string, sizeBytes: number, freeBytes: number): Hopeless {
  return new Hopeless(
    `there is no room for ${name} any more: ${formatSize(sizeBytes)} were asked for, and ${formatSize(Math.max(0, freeBytes))} are free`,
    true,
  );
}

function knownId(text: string): DatasetId {
  const id = parseDatasetId(text);
  if (id === undefined) throw new Hopeless(`${text} is no dataset of Flocker`);
  return id;
}
