import {
  ClientError,
  type ClientErrorCode,
  type Condition,
  type FlockerClient,
  type FoundDatasets,
} from '../../src/client/flocker-client.ts';
import { mountedIn, mountsAmong } from '../../src/client/judgements.ts';
import type { ControlService } from '../../src/control/control-service.ts';
import { type Conditions, configurationOf, type Reply } from '../../src/control/decide-datasets.ts';
import { leaseBody } from '../../src/control/decide-leases.ts';
import { inspectionOf } from '../../src/control/views.ts';
import { orAbort } from '../../src/kit/deadline.ts';
import type { DatasetId } from '../../src/kit/ids.ts';
import type { ProcessClock } from './sim-clock.ts';
import type { SimControl } from './sim-control.ts';
import type { Link } from './sim-network.ts';

/** Statuses of the REST API, for the requests that volumes make. */
const CODES: Readonly<Record<number, ClientErrorCode>> = {
  404: 'not_found',
  405: 'deleted',
  412: 'condition_failed',
};

/** What a client stands on. */
export interface SimClientWorld {
  readonly control: SimControl;
  readonly link: Link;
  readonly process: ProcessClock;
  /** Told of a deletion before it is asked for. */
  readonly deleting: (id: DatasetId) => void;
}

/** The requests that volumes make, over the simulated network: each may be done and its answer get lost. */
export type VolumesClient = Pick<
  FlockerClient,
  | 'hasAdditions'
  | 'findByName'
  | 'createDataset'
  | 'moveDataset'
  | 'deleteDataset'
  | 'listLeases'
  | 'listNodes'
  | 'acquireLease'
  | 'acquireLeaseAndFind'
  | 'releaseLease'
  | 'waitUntilMounted'
>;

/** A client of the simulated control service in one process of a node. */
export function simClient(world: SimClientWorld): VolumesClient {
  const wallMs = (): number => world.process.wallMs();
  const request = <T>(signal: AbortSignal, work: (service: ControlService) => Promise<T>): Promise<T> =>
    orAbort(overNetwork(world, work), signal);
  const inspect = ({ deployment, cluster }: ControlService, id: DatasetId) => {
    const dataset = deployment.dataset(id);
    if (dataset === undefined) throw new ClientError('not_found', `there is no dataset ${id}`);
    return inspectionOf(dataset, deployment.lease(id), deployment.copies.get(id), cluster, wallMs());
  };
  const named = (service: ControlService, name: string): Promise<FoundDatasets> =>
    service.read(() => {
      const datasets = service.deployment.named(name);
      return {
        datasets: datasets.map(configurationOf),
        mounted: mountsAmong(datasets.map(({ id }) => inspect(service, id))),
        ifUnchanged: { kind: 'nameUnused', name },
      };
    });
  const lease = async (service: ControlService, body: Parameters<ControlService['acquireLease']>[0]): Promise<void> => {
    taken(await service.acquireLease(body), 'lease_held');
  };
  return {
    hasAdditions: () => Promise.resolve(true),
    findByName: (name, signal) => request(signal, (service) => named(service, name)),
    createDataset: ({ primary, datasetId, maximumSizeBytes, metadata }, condition, signal) =>
      request(signal, async (service) => {
        const size = maximumSizeBytes === undefined ? {} : { maximum_size: maximumSizeBytes };
        const id = datasetId === undefined ? {} : { dataset_id: datasetId };
        return taken(
          await service.createDataset({ primary, ...id, metadata: { ...metadata }, ...size }, conditions(condition)),
          'id_in_use',
        );
      }),
    moveDataset: (id, primary, condition, signal) =>
      request(signal, async (service) => taken(await service.moveDataset(id, { primary }, conditions(condition)))),
    deleteDataset: (id, condition, signal) =>
      request(signal, async (service) => {
        world.deleting(id);
        return taken(await service.deleteDataset(id, conditions(condition)));
      }),
    listLeases: (signal) =>
      request(signal, (service) =>
        service.read(() => [...service.deployment.leases()].map((one) => leaseBody(one, wallMs()))),
      ),
    listNodes: (signal) =>
      request(signal, (service) =>
        service.read(() => [...service.cluster.nodes()].map(({ id, host }) => ({ uuid: id, host }))),
      ),
    acquireLease: ({ datasetId, nodeId, expiresSeconds: expires }, signal) =>
      request(signal, (service) => lease(service, { dataset_id: datasetId, node_uuid: nodeId, expires })),
    acquireLeaseAndFind: ({ datasetId, nodeId, expiresSeconds: expires }, name, signal) =>
      request(signal, async (service) => {
        await lease(service, { dataset_id: datasetId, node_uuid: nodeId, expires });
        return named(service, name);
      }),
    releaseLease: (id, signal) => request(signal, async (service) => void taken(await service.releaseLease(id))),
    waitUntilMounted: (id, nodeId, onProblem, signal) =>
      request(signal, (service) => {
        const judge = mountedIn(id, nodeId, (message) => {
          if (message !== undefined) onProblem(message);
        });
        return new Promise((resolve, reject) => {
          const look = (): boolean => {
            try {
              const found = judge.inspection(inspect(service, id));
              if (found !== undefined) resolve(found);
              return found === undefined && !signal.aborted;
            } catch (error) {
              reject(error);
              return false;
            }
          };
          service
            .read(() => undefined)
            .then(() => {
              if (look()) service.events.subscribe({ dataset_id: id }, look);
            }, reject);
        });
      }),
  };
}

/** A request and its answer. When the control service dies in between, nothing is known of what it did. */
function overNetwork<T>(
  { control, link, process }: SimClientWorld,
  work: (service: ControlService) => Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const answer = (settle: () => void): void => {
      link.carry(false, () => {
        if (process.alive) settle();
      });
    };
    link.carry(true, () => {
      const { service } = control;
      const unreachable = (): void => answer(() => reject(new ClientError('unreachable', 'the connection broke')));
      if (service === undefined) {
        unreachable();
        return;
      }
      const forget = control.onDeath(unreachable);
      work(service).then(
        (value) => {
          forget();
          answer(() => resolve(value));
        },
        (error: unknown) => {
          forget();
          answer(() => reject(error));
        },
      );
    });
  });
}

function taken<T>({ status, body }: Reply<T>, onConflict: ClientErrorCode = 'unexpected_answer'): T {
  if (status < 300) return body as T;
  throw new ClientError(status === 409 ? onConflict : (CODES[status] ?? 'bad_request'), JSON.stringify(body));
}

function conditions(condition: Condition): Conditions {
  return {
    tags: condition.kind === 'tag' ? [condition.tag] : undefined,
    nameUnused: condition.kind === 'nameUnused' ? condition.name : undefined,
    ...(condition.kind === 'unleased' ? { unleased: condition.ids } : {}),
  };
}
