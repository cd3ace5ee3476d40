import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { DatasetState } from '../../api/datasets.ts';
import { DESCRIPTIONS, ErrorBody } from '../../api/errors.ts';
import { DatasetInspection, InspectDatasetsQuery } from '../../api/inspection.ts';
import { NodeByEra, NodeInspection, NodeState } from '../../api/nodes.ts';
import { PATHS } from '../../api/paths.ts';
import { StorageView } from '../../api/storage.ts';
import type { Clock } from '../../kit/clock.ts';
import { parseAnyUuid, parseDatasetId } from '../../kit/ids.ts';
import type { Dataset } from '../../model/dataset.ts';
import type { ControlService } from '../control-service.ts';
import { storageView } from '../storage-view.ts';
import { inspectionOf, nodeInspection, nodeState, stateOf } from '../views.ts';
import { sendList } from './long-list.ts';

/** Version answered by `GET /v1/version`: the release of Flocker whose API this is. Clients read it as free text. */
const FLOCKER_VERSION = '1.15.0';

/** What nodes reported (contract 1.5), and our additions that look at it. */
export function stateRoutes(app: FastifyInstance, service: ControlService, clock: Clock): void {
  const { deployment, cluster } = service;

  app.get(
    PATHS.version,
    { schema: { summary: 'Version of the API', response: { 200: Type.Object({ flocker: Type.String() }) } } },
    () => Promise.resolve({ flocker: FLOCKER_VERSION }),
  );
  app.get(
    PATHS.stateDatasets,
    {
      schema: {
        summary: 'Volumes that exist, and where they are mounted',
        response: { 200: Type.Array(DatasetState) },
      },
    },
    (_request, reply) => {
      const ids = [...deployment.datasets()].map(({ id }) => id);
      return sendList(reply, ids, (some) =>
        service.read(() =>
          some.flatMap((id) => deployment.dataset(id) ?? []).flatMap((dataset) => stateOf(dataset, cluster) ?? []),
        ),
      );
    },
  );
  app.get(
    PATHS.stateNodes,
    { schema: { summary: 'Nodes that report', response: { 200: Type.Array(NodeState) } } },
    async () => service.read(() => [...cluster.nodes()].map(nodeState)),
  );
  app.get<{ Params: { era: string } }>(
    `${PATHS.nodesByEra}/:era`,
    {
      schema: {
        summary: 'The node that booted with this era',
        params: Type.Object({ era: Type.String() }),
        response: { 200: NodeByEra, '4xx': ErrorBody },
      },
    },
    async (request, reply) => {
      const era = parseAnyUuid(request.params.era);
      if (era === undefined) return reply.code(400).send({ description: 'The era in the path is not a UUID.' });
      const uuid = await service.read(() => cluster.nodeOfEra(era));
      return uuid === undefined ? reply.code(404).send({ description: DESCRIPTIONS.noNodeWithEra }) : { uuid };
    },
  );

  app.get<{ Querystring: InspectDatasetsQuery }>(
    PATHS.inspectDatasets,
    {
      schema: {
        summary: 'Everything that is known of datasets (addition)',
        querystring: InspectDatasetsQuery,
        response: { 200: Type.Array(DatasetInspection), '4xx': ErrorBody },
      },
    },
    (request, reply) => {
      const ids = select(request.query, service).map(({ id }) => id);
      return sendList(reply, ids, (some) =>
        service.read(() =>
          some
            .flatMap((id) => deployment.dataset(id) ?? [])
            .map((dataset) => {
              const [lease, copies] = [deployment.lease(dataset.id), deployment.copies.get(dataset.id)];
              return inspectionOf(dataset, lease, copies, cluster, clock.wallMs());
            }),
        ),
      );
    },
  );
  app.get(
    PATHS.inspectNodes,
    {
      schema: {
        summary: 'Everything that is known of nodes (addition)',
        response: { 200: Type.Array(NodeInspection) },
      },
    },
    async () =>
      service.read(() => {
        const agents = service.mesos?.matches();
        return [...cluster.nodes(), ...cluster.silent()].map((node) => {
          const death = deployment.death(node.id);
          // One that was declared dead is matched with none.
          return nodeInspection(
            node,
            death,
            death !== undefined || agents === undefined ? undefined : (agents.get(node.id) ?? []),
          );
        });
      }),
  );
  app.get(
    PATHS.storage,
    {
      schema: {
        summary: 'Pools, their profiles and figures (addition)',
        response: { 200: StorageView },
      },
    },
    async () => service.read(() => storageView(deployment, cluster)),
  );
}

function select(query: InspectDatasetsQuery, service: ControlService): readonly Dataset[] {
  const { deployment } = service;
  if (query.dataset_id !== undefined) {
    const id = parseDatasetId(query.dataset_id);
    const dataset = id === undefined ? undefined : deployment.dataset(id);
    const matches =
      dataset !== undefined && (query.name === undefined || deployment.named(query.name).includes(dataset));
    return matches ? [dataset] : [];
  }
  return query.name === undefined ? [...deployment.datasets()] : deployment.named(query.name);
}
