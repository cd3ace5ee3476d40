import type { ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { DESCRIPTIONS, ErrorBody } from '../../api/errors.ts';
import { EventsQuery } from '../../api/events.ts';
import { PATHS } from '../../api/paths.ts';
import type { SnapshotView } from '../../api/snapshots.ts';
import type { Clock } from '../../kit/clock.ts';
import { type DatasetId, parseDatasetId, parseNodeId, parseSnapshotId, type SnapshotId } from '../../kit/ids.ts';
import type { ControlService } from '../control-service.ts';
import type { ClusterEvent } from '../event-hub.ts';
import { inspectionOf } from '../views.ts';

/** A comment is sent after this long without an event, so that both ends notice a dead connection. */
const HEARTBEAT_MS = 15_000;
/** A client that is further behind than this is cut off; it comes back with `Last-Event-ID`. */
const LONGEST_BACKLOG_BYTES = 4 * 2 ** 20;
/** Streams open at a time; more are refused with 503. */
const MOST_STREAMS = 10_000;

/** As tools for OpenAPI read a stream: the schema is of each event. */
const ONE_EVENT = {
  type: 'object',
  properties: {
    id: { type: 'string' },
    event: { enum: ['dataset', 'node', 'snapshot', 'storage', 'reset'] },
    data: { type: 'string', description: 'JSON: the inspection of the dataset or node, the snapshot, the storage' },
  },
  required: ['event', 'data'],
};

/** Server-sent events of every change of configuration and state (addition). */
export function eventsRoute(app: FastifyInstance, service: ControlService, clock: Clock): void {
  app.get<{ Querystring: EventsQuery }>(
    PATHS.events,
    {
      schema: {
        summary: 'Server-sent events (addition)',
        description: 'Event names: dataset, node, snapshot, storage, reset. Resume with Last-Event-ID.',
        querystring: EventsQuery,
        response: {
          200: { description: 'Events', content: { 'text/event-stream': { schema: ONE_EVENT } } },
          '4xx': ErrorBody,
        },
      },
    },
    async (request, reply) => {
      const { query } = request;
      const id = query.dataset_id === undefined ? undefined : parseDatasetId(query.dataset_id);
      if (query.dataset_id !== undefined && (id === undefined || service.deployment.dataset(id) === undefined)) {
        return reply.code(404).send({ description: 'Dataset not found.' });
      }
      const snapshotId = query.snapshot_id === undefined ? undefined : parseSnapshotId(query.snapshot_id);
      if (
        query.snapshot_id !== undefined &&
        (snapshotId === undefined || service.deployment.snapshots.get(snapshotId) === undefined)
      ) {
        return reply.code(404).send({ description: DESCRIPTIONS.snapshotNotFound });
      }
      const unfit = unfitQuery(query);
      if (unfit !== undefined) return reply.code(400).send({ description: unfit });
      const node = query.node_uuid === undefined ? undefined : parseNodeId(query.node_uuid);
      if (query.node_uuid !== undefined && node === undefined) {
        return reply.code(400).send({ description: 'node_uuid is not a UUID.' });
      }
      if (service.events.subscribers >= MOST_STREAMS) {
        return reply.code(503).send({ description: `There are already ${MOST_STREAMS} event streams.` });
      }
      // What the first event shows is durable before it is shown, like everything else.
      await service.read(() => undefined);
      reply.hijack();
      // Its `close` is over, so nothing would ever end the subscription.
      if (reply.raw.destroyed) return reply;
      reply.raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      const lastEventId = request.headers['last-event-id'];
      const canonical: EventsQuery = { ...query, ...(node === undefined ? {} : { node_uuid: node }) };
      new EventStream(reply.raw, service, clock, canonical, { datasetId: id, snapshotId }).start(
        typeof lastEventId === 'string' ? lastEventId : undefined,
      );
      return reply;
    },
  );
}

/** What is wrong with a query whose parts are sound. */
function unfitQuery({ until, dataset_id, snapshot_id }: EventsQuery): string | undefined {
  if (dataset_id !== undefined && snapshot_id !== undefined) return 'A stream is of a dataset or of a snapshot.';
  if (until === 'mounted' && dataset_id === undefined) return 'until=mounted needs dataset_id.';
  if (until === 'ready' && snapshot_id === undefined) return 'until=ready needs snapshot_id.';
  if (until === 'gone' && dataset_id === undefined && snapshot_id === undefined) {
    return 'until=gone needs dataset_id or snapshot_id.';
  }
  return undefined;
}

/** The one thing that a stream is about; neither for a stream of everything. */
interface Subject {
  readonly datasetId: DatasetId | undefined;
  readonly snapshotId: SnapshotId | undefined;
}

class EventStream {
  readonly #response: ServerResponse;
  readonly #service: ControlService;
  readonly #clock: Clock;
  readonly #query: EventsQuery;
  readonly #subject: Subject;
  #unsubscribe: () => void = () => undefined;
  #cancelHeartbeat: () => void = () => undefined;
  #over = false;

  constructor(response: ServerResponse, service: ControlService, clock: Clock, query: EventsQuery, subject: Subject) {
    this.#response = response;
    this.#service = service;
    this.#clock = clock;
    this.#query = query;
    this.#subject = subject;
  }

  start(lastEventId: string | undefined): void {
    const { events } = this.#service;
    this.#response.on('close', () => this.#end());
    const { datasetId, snapshotId } = this.#subject;
    const query = {
      ...(datasetId === undefined ? {} : { dataset_id: datasetId }),
      ...(snapshotId === undefined ? {} : { snapshot_id: snapshotId }),
    };
    this.#unsubscribe = events.subscribe(query, (event, id) => this.#write(event, id));
    this.#heartbeat();
    const present = this.#present();
    if (present !== undefined) {
      this.#write(present, events.lastId);
      return;
    }
    this.#response.write(`: events of this control service\nid: ${events.lastId}\n\n`);
    if (lastEventId === undefined) return;
    const missed = events.since(lastEventId);
    if (missed === undefined) this.#response.write('event: reset\ndata: {}\n\n');
    else for (const { event, id } of missed) this.#write(event, id);
  }

  #present(): ClusterEvent | undefined {
    const { deployment, cluster, snapshots } = this.#service;
    const { datasetId, snapshotId } = this.#subject;
    const dataset = datasetId === undefined ? undefined : deployment.dataset(datasetId);
    if (dataset !== undefined) {
      const data = inspectionOf(
        dataset,
        deployment.lease(dataset.id),
        deployment.copies.get(dataset.id),
        cluster,
        this.#clock.wallMs(),
      );
      return { name: 'dataset', data };
    }
    const snapshot = snapshotId === undefined ? undefined : deployment.snapshots.get(snapshotId);
    return snapshot === undefined ? undefined : { name: 'snapshot', data: snapshots.view(snapshot) };
  }

  /** Writes one event; false when the stream is over. */
  #write(event: ClusterEvent, id: string): boolean {
    if (this.#over) return false;
    if (this.#response.writableLength > LONGEST_BACKLOG_BYTES) {
      this.#response.destroy();
      this.#end();
      return false;
    }
    this.#response.write(`id: ${id}\nevent: ${event.name}\ndata: ${JSON.stringify(event.data)}\n\n`);
    this.#heartbeat();
    if (!decides(event, this.#query)) return true;
    this.#response.end();
    this.#end();
    return false;
  }

  #heartbeat(): void {
    this.#cancelHeartbeat();
    this.#cancelHeartbeat = this.#clock.timer(HEARTBEAT_MS, () => {
      this.#response.write(': still here\n\n');
      this.#heartbeat();
    });
  }

  #end(): void {
    this.#over = true;
    this.#cancelHeartbeat();
    this.#unsubscribe();
  }
}

/** Whether the event is what `until` waits for. */
function decides(event: ClusterEvent, query: EventsQuery): boolean {
  if (query.until === undefined) return false;
  if (event.name === 'snapshot') return decidesSnapshot(event.data, query.until);
  if (event.name !== 'dataset') return false;
  const { status, state, problem, configuration } = event.data;
  if (problem?.needs_action === true) return true;
  if (query.until === 'gone') return status === 'deleted';
  if (configuration.deleted) return true;
  return (
    status === 'mounted' && problem === null && (query.node_uuid === undefined || state?.primary === query.node_uuid)
  );
}

function decidesSnapshot({ status, problem }: SnapshotView, until: EventsQuery['until']): boolean {
  if (problem?.needs_action === true || status === 'deleted') return true;
  if (until !== 'ready') return false;
  return status === 'ready' || status === 'failed' || status === 'deleting';
}
