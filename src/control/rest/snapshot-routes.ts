import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { ErrorBody } from '../../api/errors.ts';
import { PATHS } from '../../api/paths.ts';
import { CreateSnapshotBody, SnapshotsQuery, SnapshotView } from '../../api/snapshots.ts';
import { parseDatasetId, parseSnapshotId } from '../../kit/ids.ts';
import { nameOf } from '../../model/dataset.ts';
import type { Snapshot } from '../../model/snapshot.ts';
import type { ControlService } from '../control-service.ts';
import type { SnapshotsView } from '../snapshots.ts';

const refusals = { '4xx': ErrorBody };

/** Snapshots (additions). */
export function snapshotRoutes(app: FastifyInstance, service: ControlService): void {
  const { deployment, snapshots } = service;

  app.get<{ Querystring: SnapshotsQuery }>(
    PATHS.snapshots,
    {
      schema: {
        summary: 'Snapshots; deleted ones only when asked for by id (addition)',
        querystring: SnapshotsQuery,
        response: { 200: Type.Array(SnapshotView), ...refusals },
      },
    },
    async ({ query }) =>
      service.read(() => select(query, deployment.snapshots).map((snapshot) => snapshots.view(snapshot))),
  );
  app.post<{ Body: CreateSnapshotBody }>(
    PATHS.snapshots,
    {
      schema: {
        summary: 'Take a snapshot of a dataset (addition)',
        description: 'The same snapshot_id and dataset_id again answers 200 with that snapshot.',
        body: CreateSnapshotBody,
        response: { 200: SnapshotView, 201: SnapshotView, ...refusals },
      },
    },
    async (request, reply) => {
      const { status, body } = await snapshots.create(request.body);
      return reply.code(status).send(body);
    },
  );
  app.delete<{ Params: { snapshot_id: string } }>(
    `${PATHS.snapshots}/:snapshot_id`,
    {
      schema: {
        summary: 'Mark a snapshot as deleted; a node of its pool destroys it (addition)',
        params: Type.Object({ snapshot_id: Type.String() }),
        response: { 200: SnapshotView, ...refusals },
      },
    },
    async (request, reply) => {
      const { status, body } = await snapshots.remove(request.params.snapshot_id);
      return reply.code(status).send(body);
    },
  );
}

function select(query: SnapshotsQuery, snapshots: SnapshotsView): readonly Snapshot[] {
  const fits = ({ datasetId, metadata }: Snapshot): boolean =>
    (query.dataset_id === undefined || datasetId === parseDatasetId(query.dataset_id)) &&
    (query.name === undefined || nameOf(metadata) === query.name);
  if (query.snapshot_id !== undefined) {
    const id = parseSnapshotId(query.snapshot_id);
    const snapshot = id === undefined ? undefined : snapshots.get(id);
    return snapshot !== undefined && fits(snapshot) ? [snapshot] : [];
  }
  return [...snapshots.all()].filter((snapshot) => !snapshot.deleted && fits(snapshot));
}
