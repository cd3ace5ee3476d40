import { errorText } from '../kit/coded-error.ts';
import { DeadlineExceeded, orAbort, withDeadline } from '../kit/deadline.ts';
import type { DatasetId } from '../kit/ids.ts';
import type { KeyedQueue } from '../kit/keyed-queue.ts';
import { describeLeaseHolder } from './lease-holder.ts';
import { obstacleOf } from './obstacle.ts';
import { VolumeError } from './volume-error.ts';
import type { VolumesWorld } from './volumes-world.ts';

interface Doomed {
  readonly name: string;
  readonly datasetId: DatasetId;
}

/** As {@link deleteVolume}, and waits for the storage. Resolves with what is left to do when the signal aborts before that. */
export async function removeVolume(
  world: VolumesWorld,
  queue: KeyedQueue<string>,
  volume: Doomed,
  signal: AbortSignal,
): Promise<string | undefined> {
  await deleteVolume(world, queue, volume, signal);
  try {
    await world.client.waitUntilGone(volume.datasetId, signal);
    return undefined;
  } catch (error) {
    const why = error instanceof DeadlineExceeded ? 'nodes still work on it' : errorText(error);
    return `volume ${volume.name} is deleted, but its storage is not gone yet: ${why}`;
  }
}

/**
 * Deletes a volume nobody uses; resolves once that is durable. The lease is the condition: with it ours, nobody can begin
 * to use the volume between the look and the deletion.
 */
export async function deleteVolume(
  world: VolumesWorld,
  queue: KeyedQueue<string>,
  volume: Doomed,
  signal: AbortSignal,
): Promise<void> {
  const { name } = volume;
  // Before the queue, where an acquire may be waiting for long.
  refuseHeld(world, volume);
  await orAbort(
    queue.run(name, async () => {
      signal.throwIfAborted();
      refuseHeld(world, volume);
      await deleteLeased(world, volume, signal);
    }),
    signal,
  ).catch((error: unknown) => {
    if (error instanceof VolumeError) throw error;
    const { code, message } = obstacleOf(name, error);
    throw new VolumeError(code, `volume ${name} could not be removed: ${message}`, { cause: error });
  });
}

function refuseHeld({ ledger }: VolumesWorld, { name, datasetId }: Doomed): void {
  const users = ledger.live(datasetId).map(({ holderId, detail }) => `${holderId} (${detail})`);
  if (users.length > 0) throw new VolumeError('in_use', `volume ${name} is in use on this node by ${users.join(', ')}`);
}

async function deleteLeased(world: VolumesWorld, { name, datasetId }: Doomed, signal: AbortSignal): Promise<void> {
  const { client, clock, leases, ledger, logger, requestTimeoutMs } = world;
  const bounded = <T>(
    what: string,
    parent: AbortSignal | undefined,
    work: (soon: AbortSignal) => Promise<T>,
  ): Promise<T> => withDeadline(clock, requestTimeoutMs, what, parent, work);
  // A release that is not done yet may have left one of ours; any other is somebody's, also one for this node.
  const oursLeft = ledger.ofVolume(name).some((holding) => holding.datasetId === datasetId);
  const all = await bounded('listing leases', signal, (soon) => client.listLeases(soon));
  const leased = all.some((lease) => lease.dataset_id.toLowerCase() === datasetId);
  if (leased && !oursLeft) {
    const who = await bounded('asking for the lease', signal, (soon) => describeLeaseHolder(client, datasetId, soon));
    throw new VolumeError('leased_elsewhere', `volume ${name} is in use: ${who}`);
  }
  try {
    await leases.take(datasetId);
    // Once sent it is not cut off: what was done has to be known.
    await bounded('deleting a volume', undefined, (soon) => client.deleteDataset(datasetId, { kind: 'none' }, soon));
    logger.info({ volume: name, datasetId }, 'deleted a volume');
  } finally {
    world.mounts.delete(datasetId);
    await leases.giveUp(datasetId).catch((error: unknown) => {
      logger.warn({ volume: name, error: errorText(error) }, 'could not give up a lease; it ends by itself');
    });
  }
}
