import type { IncomingMessage, ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { Compile } from 'typebox/compile';
import { CreateDatasetBody, MoveDatasetBody } from '../../api/datasets.ts';
import { DESCRIPTIONS } from '../../api/errors.ts';
import type { DatasetInspection } from '../../api/inspection.ts';
import { LeaseBody } from '../../api/leases.ts';
import {
  FIND_NAME_HEADER,
  FOUND_HEADER,
  IF_NAME_UNUSED_HEADER,
  IF_TAG_HEADER,
  IF_UNLEASED_HEADER,
  PATHS,
  TAG_HEADER,
} from '../../api/paths.ts';
import { type DatasetId, type NodeId, parseDatasetId, parseNodeId, parseSnapshotId } from '../../kit/ids.ts';
import { nameOf } from '../../model/dataset.ts';
import { ClientError, type ClientErrorCode, type Condition } from '../flocker-client.ts';
import type { TlsIdentity } from '../tls-identity.ts';
import type { FakeCluster } from './fake-cluster.ts';
import type { FakeFlocker } from './fake-flocker.ts';
import { html404, listen, type Routes, sendJson, type TestListener } from './https-listener.ts';
import { serveFakeStorage, streamFakeChanges, streamFakeSnapshot } from './serve-fake-storage.ts';

const STATUSES: Partial<Record<ClientErrorCode, number>> = {
  bad_request: 400,
  not_found: 404,
  deleted: 405,
  id_in_use: 409,
  lease_held: 409,
  in_use: 409,
  condition_failed: 412,
};

const createBody = Compile(CreateDatasetBody);
const moveBody = Compile(MoveDatasetBody);
const leaseBody = Compile(LeaseBody);

type Handler = (request: IncomingMessage, response: ServerResponse, id: string) => Promise<void>;

/** Serves a fake cluster by HTTPS, so that the wire of contract 1 lies between a client and the fake. */
export function serveFake(fake: FakeFlocker, control: TlsIdentity, additions: boolean): Promise<TestListener> {
  const original = originalRoutes(fake);
  const added = additions ? addedRoutes(fake) : {};
  const routes: Readonly<Record<string, Handler>> = { ...original, ...added };
  const dispatch = (request: IncomingMessage, response: ServerResponse): void => {
    const path = (request.url ?? '').replace(/\?.*/, '');
    const parent = path.replace(/\/[^/]*$/, '');
    const handler = routes[`${request.method} ${path}`] ?? routes[`${request.method} ${parent}/*`];
    const answer = async (): Promise<void> => {
      if (additions && (await serveFakeStorage(fake, request, response))) return;
      if (handler === undefined) html404(response);
      else await handler(request, response, path.slice(parent.length + 1));
    };
    answer().catch((error: unknown) => fail(response, error));
  };
  const all: Routes = { '*': dispatch };
  return listen(control, all);
}

function originalRoutes({ client, cluster }: FakeFlocker): Readonly<Record<string, Handler>> {
  const now = AbortSignal.timeout(600_000);
  return {
    [`GET ${PATHS.version}`]: async (_, response) => sendJson(response, 200, { flocker: await client.version(now) }),
    [`GET ${PATHS.configurationDatasets}`]: async (_, response) => {
      const { datasets, tag } = await client.listDatasets(now);
      response.setHeader(TAG_HEADER, tag ?? '');
      sendJson(response, 200, datasets);
    },
    [`POST ${PATHS.configurationDatasets}`]: async (request, response) => {
      const body = checked(createBody, await text(request));
      const { primary, dataset_id: id, maximum_size: size, metadata, source_snapshot } = body;
      const source = source_snapshot === undefined ? undefined : parseSnapshotId(source_snapshot);
      const dataset = {
        primary: nodeOf(primary),
        metadata: metadata ?? {},
        ...(id === undefined ? {} : { datasetId: datasetOf(id) }),
        ...(size === undefined || size === null ? {} : { maximumSizeBytes: size }),
        ...(source === undefined ? {} : { sourceSnapshot: source }),
      };
      sendJson(response, 201, await client.createDataset(dataset, conditionOf(request), now));
    },
    [`POST ${PATHS.configurationDatasets}/*`]: async (request, response, id) => {
      const { primary = '' } = checked(moveBody, await text(request));
      const moved = await client.moveDataset(datasetOf(id), nodeOf(primary), conditionOf(request), now);
      sendJson(response, 200, moved);
    },
    [`DELETE ${PATHS.configurationDatasets}/*`]: async (request, response, id) =>
      sendJson(response, 200, await client.deleteDataset(datasetOf(id), conditionOf(request), now)),
    [`GET ${PATHS.stateDatasets}`]: async (_, response) => sendJson(response, 200, await client.listDatasetStates(now)),
    [`GET ${PATHS.stateNodes}`]: async (_, response) => sendJson(response, 200, await client.listNodes(now)),
    [`GET ${PATHS.nodesByEra}/*`]: async (_, response, era) =>
      sendJson(response, 200, { uuid: await client.nodeByEra(era, now) }),
    [`GET ${PATHS.leases}`]: async (_, response) => sendJson(response, 200, await client.listLeases(now)),
    [`POST ${PATHS.leases}`]: async (request, response) => {
      const lease = checked(leaseBody, await text(request));
      const [datasetId, nodeId] = [datasetOf(lease.dataset_id), nodeOf(lease.node_uuid)];
      const status = cluster.leaseOf(datasetId) === undefined ? 201 : 200;
      await client.acquireLease({ datasetId, nodeId, expiresSeconds: lease.expires }, now);
      const name = request.headers[FIND_NAME_HEADER];
      if (typeof name === 'string' && (await client.hasAdditions(now))) {
        response.setHeader(FOUND_HEADER, JSON.stringify(inspectNamed(cluster, decodeURIComponent(name))));
      }
      sendJson(response, status, lease);
    },
    [`DELETE ${PATHS.leases}/*`]: async (_, response, id) => {
      const lease = cluster.leaseOf(datasetOf(id));
      await client.releaseLease(datasetOf(id), now);
      sendJson(response, 200, lease === undefined ? null : cluster.leaseBody(lease));
    },
  };
}

function addedRoutes(fake: FakeFlocker): Readonly<Record<string, Handler>> {
  const { client, cluster } = fake;
  const query = (request: IncomingMessage): URLSearchParams => new URL(request.url ?? '', 'https://x').searchParams;
  return {
    [`GET ${PATHS.inspectNodes}`]: (_, response) => {
      const nodes = cluster.nodes.map((node) => cluster.inspectNode(node));
      return Promise.resolve(sendJson(response, 200, nodes));
    },
    [`GET ${PATHS.storage}`]: async (_, response) =>
      sendJson(response, 200, await client.storageState(AbortSignal.timeout(600_000))),
    [`GET ${PATHS.inspectDatasets}`]: (request, response) => {
      const name = query(request).get('name');
      sendJson(response, 200, inspectNamed(cluster, name));
      return Promise.resolve();
    },
    [`GET ${PATHS.events}`]: (request, response) => {
      if (query(request).has('snapshot_id')) {
        streamFakeSnapshot(fake, new URL(request.url ?? '', 'https://x'), response);
        return Promise.resolve();
      }
      if (!query(request).has('dataset_id')) {
        streamFakeChanges(fake, response);
        return Promise.resolve();
      }
      const dataset = cluster.datasets.get(datasetOf(query(request).get('dataset_id') ?? ''));
      if (dataset === undefined) throw new ClientError('not_found', DESCRIPTIONS.datasetNotFound);
      const until = query(request).get('until');
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const write = (): void => {
        const inspection = cluster.inspect(dataset);
        const { status, state, problem } = inspection;
        response.write(`event: dataset\ndata: ${JSON.stringify(inspection)}\n\n`);
        const mounted = status === 'mounted' && state?.primary === query(request).get('node_uuid');
        const decided = until === 'gone' ? status === 'deleted' : mounted || problem?.needs_action === true;
        if (decided) response.end();
      };
      const stop = cluster.listen(write);
      response.on('close', stop);
      response.on('finish', stop);
      write();
      return Promise.resolve();
    },
  };
}

function inspectNamed(cluster: FakeCluster, name: string | null): DatasetInspection[] {
  return [...cluster.datasets.values()]
    .filter(({ configuration }) => name === null || (!configuration.deleted && nameOf(configuration.metadata) === name))
    .map((dataset) => cluster.inspect(dataset));
}

function conditionOf(request: IncomingMessage): Condition {
  const tag = request.headers[IF_TAG_HEADER];
  const name = request.headers[IF_NAME_UNUSED_HEADER];
  const unleased = request.headers[IF_UNLEASED_HEADER];
  if (typeof tag === 'string') return { kind: 'tag', tag };
  if (typeof unleased === 'string') return { kind: 'unleased', ids: unleased.split(',').map(datasetOf) };
  return typeof name === 'string' ? { kind: 'nameUnused', name: decodeURIComponent(name) } : { kind: 'none' };
}

function checked<T>(shape: { Check(value: unknown): value is T }, json: string): T {
  const body: unknown = JSON.parse(json);
  if (!shape.Check(body)) throw new ClientError('bad_request', DESCRIPTIONS.schema);
  return body;
}

function datasetOf(id: string): DatasetId {
  const parsed = parseDatasetId(id);
  if (parsed === undefined) throw new ClientError('bad_request', DESCRIPTIONS.schema);
  return parsed;
}

function nodeOf(uuid: string): NodeId {
  const parsed = parseNodeId(uuid);
  if (parsed === undefined) throw new ClientError('bad_request', DESCRIPTIONS.schema);
  return parsed;
}

function fail(response: ServerResponse, error: unknown): void {
  const status = error instanceof ClientError ? STATUSES[error.code] : undefined;
  if (status === undefined || !(error instanceof Error)) sendJson(response, 500, `${String(error)}@/1`);
  else sendJson(response, status, { description: error.message });
}
