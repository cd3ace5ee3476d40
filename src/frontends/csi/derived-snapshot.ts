import type { SnapshotView } from '../../api/snapshots.ts';
import type { StorageClient } from '../../client/storage-client.ts';
import { derivedUuid, parseSnapshotId, type SnapshotId } from '../../kit/ids.ts';

/** A snapshot whose id is made from what it is called. */
export interface DerivedSnapshot {
  readonly id: SnapshotId;
  /** Undefined when it is yet to be made. */
  readonly found: SnapshotView | undefined;
}

/**
 * The snapshot that `parts` name: with an id of our own making the control service lets there be one only, whoever asks for
 * it at the same time. Ids are not used twice, so that each one that was deleted leads to the next.
 */
export async function derivedSnapshot(
  client: Pick<StorageClient, 'listSnapshots'>,
  parts: readonly string[],
  signal: AbortSignal,
): Promise<DerivedSnapshot> {
  for (let generation = 0; ; generation += 1) {
    const id = parseSnapshotId(derivedUuid(...parts, String(generation)));
    if (id === undefined) throw new Error('a derived id is a UUIDv4');
    const [found] = await client.listSnapshots({ snapshotId: id }, signal);
    if (found?.status !== 'deleted' && found?.status !== 'deleting') return { id, found };
  }
}
