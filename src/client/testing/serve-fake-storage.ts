import type { IncomingMessage, ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { Compile } from 'typebox/compile';
import { DESCRIPTIONS } from '../../api/errors.ts';
import { PATHS } from '../../api/paths.ts';
import { CreateSnapshotBody, ResizeDatasetBody } from '../../api/snapshots.ts';
import { type DatasetId, parseDatasetId, parseNodeId, parseSnapshotId, type SnapshotId } from '../../kit/ids.ts';
import { ClientError } from '../flocker-client.ts';
import type { FakeFlocker } from './fake-flocker.ts';
import { sendJson } from './https-listener.ts';

const snapshotBody = Compile(CreateSnapshotBody);
const resizeBody = Compile(ResizeDatasetBody);

/** Growth and snapshots of a fake, as its REST API; undefined when the request is about something else. */
export async function serveFakeStorage(
  { client }: FakeFlocker,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<boolean> {
  const now = AbortSignal.timeout(600_000);
  const url = new URL(request.url ?? '', 'https://fake');
  const [, grown] = /^\/v1\/configuration\/datasets\/([^/]+)\/size$/.exec(url.pathname) ?? [];
  if (grown !== undefined && request.method === 'POST') {
    const { maximum_size: sizeBytes } = checked(resizeBody, await text(request));
    sendJson(response, 200, await client.resizeDataset(datasetOf(grown), sizeBytes, now));
    return true;
  }
  const [, dead] = /^\/v1\/nodes\/([^/]+)\/declare-dead$/.exec(url.pathname) ?? [];
  if (dead !== undefined && request.method === 'POST') {
    const node = parseNodeId(dead);
    if (node === undefined) throw new ClientError('bad_request', DESCRIPTIONS.schema);
    sendJson(response, 200, await client.declareNodeDead(node, now));
    return true;
  }
  if (url.pathname === PATHS.restored && request.method === 'GET') {
    sendJson(response, 200, await client.restoredState(now));
    return true;
  }
  if (url.pathname === `${PATHS.restored}/confirm` && request.method === 'POST') {
    sendJson(response, 200, await client.confirmRestored(now));
    return true;
  }
  if (url.pathname === PATHS.snapshots && request.method === 'POST') {
    const { dataset_id, snapshot_id, metadata = {} } = checked(snapshotBody, await text(request));
    const id = snapshot_id === undefined ? {} : { snapshotId: snapshotIdOf(snapshot_id) };
    sendJson(response, 201, await client.createSnapshot({ datasetId: datasetOf(dataset_id), ...id, metadata }, now));
    return true;
  }
  if (url.pathname === PATHS.snapshots && request.method === 'GET') {
    const asked = Object.fromEntries(url.searchParams);
    const filter = {
      ...(asked['dataset_id'] === undefined ? {} : { datasetId: datasetOf(asked['dataset_id']) }),
      ...(asked['snapshot_id'] === undefined ? {} : { snapshotId: snapshotIdOf(asked['snapshot_id']) }),
      ...(asked['name'] === undefined ? {} : { name: asked['name'] }),
    };
    sendJson(response, 200, await client.listSnapshots(filter, now));
    return true;
  }
  const [, gone] = /^\/v1\/configuration\/snapshots\/([^/]+)$/.exec(url.pathname) ?? [];
  if (gone === undefined || request.method !== 'DELETE') return false;
  sendJson(response, 200, await client.deleteSnapshot(snapshotIdOf(gone), now));
  return true;
}

/** The event stream of one snapshot. */
export function streamFakeSnapshot({ cluster }: FakeFlocker, url: URL, response: ServerResponse): void {
  const id = snapshotIdOf(url.searchParams.get('snapshot_id') ?? '');
  const until = url.searchParams.get('until');
  cluster.snapshots.view(id);
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const write = (): void => {
    const view = cluster.snapshots.view(id);
    response.write(`event: snapshot\ndata: ${JSON.stringify(view)}\n\n`);
    const decided = until === 'gone' ? view.status === 'deleted' : view.status !== 'pending';
    if (decided) response.end();
  };
  const stop = cluster.listen(write);
  response.on('close', stop);
  response.on('finish', stop);
  write();
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

function snapshotIdOf(id: string): SnapshotId {
  const parsed = parseSnapshotId(id);
  if (parsed === undefined) throw new ClientError('bad_request', DESCRIPTIONS.schema);
  return parsed;
}

/** Every change of the fake cluster, as server-sent events. */
export function streamFakeChanges({ client }: FakeFlocker, response: ServerResponse): void {
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.flushHeaders();
  client
    .followChanges(
      ({ kind, value }) => response.write(`event: ${kind}\ndata: ${JSON.stringify(value)}\n\n`),
      () => undefined,
      gone.signal,
    )
    .catch(() => response.end());
}
