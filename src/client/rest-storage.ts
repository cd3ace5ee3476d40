import { PATHS } from '../api/paths.ts';
import type { SnapshotsQuery } from '../api/snapshots.ts';
import { bodyOf } from './answers.ts';
import type { EventWatch } from './event-watch.ts';
import { ClientError } from './flocker-client.ts';
import type { Https, HttpsRequest } from './https.ts';
import { grownIn, snapshotGoneIn, snapshotReadyIn } from './judgements.ts';
import { DATASET_EVENTS, SHAPES, type Shape, SNAPSHOT_EVENTS } from './shapes.ts';
import type { ServerSentEvent } from './sse-parser.ts';
import type { ClusterChange, SnapshotFilter, StorageClient } from './storage-client.ts';

interface RestStorageParts {
  readonly https: Https;
  readonly watch: EventWatch;
  readonly hasAdditions: (signal: AbortSignal) => Promise<boolean>;
}

const ignore = (): void => undefined;

/** {@link StorageClient} over HTTPS. */
export function restStorage({ https, watch, hasAdditions }: RestStorageParts): StorageClient {
  const requireAdditions = async (what: string, signal: AbortSignal): Promise<void> => {
    if (await hasAdditions(signal)) return;
    throw new ClientError('not_supported', `This server is no mesos-module-flocker: it cannot ${what}`);
  };
  /** A wait outlives a restart of the control service also when it is the first thing asked. */
  const requireAdditionsOnceReached = async (what: string, signal: AbortSignal): Promise<void> => {
    await watch.untilReached(() => requireAdditions(what, signal).then(() => true), ignore, signal);
  };
  const ask = async <T>(
    request: HttpsRequest,
    successes: readonly number[],
    shape: Shape<T>,
    signal: AbortSignal,
  ): Promise<T> => bodyOf(await https.request(request, signal), successes, shape, `${request.method} ${request.path}`);

  return {
    storageState: async (signal) => {
      await requireAdditions('tell the state of its storage', signal);
      return ask({ method: 'GET', path: PATHS.storage }, [200], SHAPES.storage, signal);
    },
    declareNodeDead: async (node, signal) => {
      await requireAdditions('give the volumes of a dead node to others', signal);
      return ask(
        { method: 'POST', path: `${PATHS.nodes}/${node}/declare-dead`, body: {} },
        [200],
        SHAPES.nodeDeath,
        signal,
      );
    },
    restoredState: async (signal) => {
      await requireAdditions('tell what was restored', signal);
      return ask({ method: 'GET', path: PATHS.restored }, [200], SHAPES.restored, signal);
    },
    confirmRestored: async (signal) => {
      await requireAdditions('confirm what was restored', signal);
      const request = { method: 'POST', path: `${PATHS.restored}/confirm`, body: {} } as const;
      return ask(request, [200], SHAPES.restoredConfirmation, signal);
    },
    resizeDataset: async (id, maximumSizeBytes, signal) => {
      await requireAdditions('make datasets larger', signal);
      const path = `${PATHS.configurationDatasets}/${id}/size`;
      return ask({ method: 'POST', path, body: { maximum_size: maximumSizeBytes } }, [200], SHAPES.dataset, signal);
    },
    waitUntilGrown: async (id, sizeBytes, signal) => {
      await requireAdditionsOnceReached('make datasets larger', signal);
      return watch.until({ dataset_id: id }, DATASET_EVENTS, grownIn(id, sizeBytes), ignore, signal);
    },
    createSnapshot: async ({ datasetId, snapshotId, metadata }, signal) => {
      await requireAdditions('take snapshots', signal);
      const body = {
        dataset_id: datasetId,
        ...(snapshotId === undefined ? {} : { snapshot_id: snapshotId }),
        metadata,
      };
      return ask({ method: 'POST', path: PATHS.snapshots, body }, [200, 201], SHAPES.snapshot, signal);
    },
    listSnapshots: async (filter, signal) => {
      await requireAdditions('take snapshots', signal);
      return ask({ method: 'GET', path: `${PATHS.snapshots}${queryOf(filter)}` }, [200], SHAPES.snapshots, signal);
    },
    deleteSnapshot: async (id, signal) => {
      await requireAdditions('take snapshots', signal);
      return ask({ method: 'DELETE', path: `${PATHS.snapshots}/${id}` }, [200], SHAPES.snapshot, signal);
    },
    waitForSnapshot: async (id, signal) => {
      await requireAdditionsOnceReached('take snapshots', signal);
      return watch.until({ snapshot_id: id, until: 'ready' }, SNAPSHOT_EVENTS, snapshotReadyIn(id), ignore, signal);
    },
    waitUntilSnapshotGone: async (id, signal) => {
      await requireAdditionsOnceReached('take snapshots', signal);
      try {
        await watch.until({ snapshot_id: id, until: 'gone' }, SNAPSHOT_EVENTS, snapshotGoneIn, ignore, signal);
      } catch (error) {
        // Nothing of it is left to wait for.
        if (!(error instanceof ClientError && error.code === 'not_found')) throw error;
      }
    },
    followChanges: async (onChange, onProblem, signal) => {
      await requireAdditions('tell of changes', signal);
      return watch.follow(
        (event) => {
          const change = changeOf(event);
          if (change !== undefined) onChange(change);
        },
        onProblem,
        signal,
      );
    },
  };
}

/** Undefined for events that a newer server may have. */
function changeOf({ event, data }: ServerSentEvent): ClusterChange | undefined {
  const value = <T>(shape: Shape<T>): T =>
    bodyOf({ url: 'the event stream', status: 200, text: data }, [200], shape, `${event} event`);
  switch (event) {
    case 'dataset':
      return { kind: 'dataset', value: value(SHAPES.inspection) };
    case 'node':
      return { kind: 'node', value: value(SHAPES.nodeInspection) };
    case 'snapshot':
      return { kind: 'snapshot', value: value(SHAPES.snapshot) };
    case 'storage':
      return { kind: 'storage', value: value(SHAPES.pool) };
    case 'reset':
      return { kind: 'reset', value: null };
    default:
      return undefined;
  }
}

function queryOf(filter: SnapshotFilter): string {
  const query: SnapshotsQuery = {
    ...(filter.datasetId === undefined ? {} : { dataset_id: filter.datasetId }),
    ...(filter.snapshotId === undefined ? {} : { snapshot_id: filter.snapshotId }),
    ...(filter.name === undefined ? {} : { name: filter.name }),
  };
  return Object.keys(query).length === 0 ? '' : `?${new URLSearchParams(query).toString()}`;
}
