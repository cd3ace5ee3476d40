import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { CreateDatasetBody, DatasetConfiguration, MoveDatasetBody } from '../../api/datasets.ts';
import { ErrorBody } from '../../api/errors.ts';
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
import { ResizeDatasetBody } from '../../api/snapshots.ts';
import type { Clock } from '../../kit/clock.ts';
import type { ControlService } from '../control-service.ts';
import { type Conditions, configurationOf, type Reply, unmetCondition } from '../decide-datasets.ts';
import { leaseBody } from '../decide-leases.ts';
import { inspectionOf } from '../views.ts';
import { escapeNonAscii } from './contract-replies.ts';
import { headersSchema } from './request-headers.ts';

const DatasetPath = Type.Object({ dataset_id: Type.String() });
const refusals = { '4xx': ErrorBody };
/** Clients take 16 KiB of headers, and other servers between may take less. */
const LONGEST_FOUND_HEADER = 6 * 2 ** 10;

/** Desired state: datasets and leases (contract 1.4, 1.6, 1.9). */
export function configurationRoutes(app: FastifyInstance, service: ControlService, clock: Clock): void {
  const { deployment } = service;
  const conditional = {
    // Before the body is looked at: a stale tag beats a malformed body (contract 1.1).
    onRequest: async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
      const unmet = unmetCondition(conditionsOf(request), deployment);
      // The answer names the tag, so what the tag stands for has to be durable first.
      if (unmet !== undefined) send(reply, await service.read(() => unmet));
    },
  };

  app.get(
    PATHS.configurationDatasets,
    {
      schema: { summary: 'Every dataset, deleted ones included', response: { 200: Type.Array(DatasetConfiguration) } },
    },
    async (_request, reply) => {
      const { tag, datasets } = await service.read(() => ({
        tag: deployment.tag,
        datasets: [...deployment.datasets()].map(configurationOf),
      }));
      reply.header(TAG_HEADER, tag);
      return datasets;
    },
  );
  app.post<{ Body: CreateDatasetBody }>(
    PATHS.configurationDatasets,
    {
      ...conditional,
      schema: {
        summary: 'Create a dataset',
        headers: headersSchema(IF_TAG_HEADER, IF_NAME_UNUSED_HEADER),
        body: CreateDatasetBody,
        response: { 201: DatasetConfiguration, ...refusals },
      },
    },
    async (request, reply) => send(reply, await service.createDataset(request.body, conditionsOf(request))),
  );
  app.post<{ Params: { dataset_id: string }; Body: MoveDatasetBody }>(
    `${PATHS.configurationDatasets}/:dataset_id`,
    {
      ...conditional,
      schema: {
        summary: 'Move a dataset to another node',
        headers: headersSchema(IF_TAG_HEADER),
        params: DatasetPath,
        body: MoveDatasetBody,
        response: { 200: DatasetConfiguration, ...refusals },
      },
    },
    async (request, reply) =>
      send(reply, await service.moveDataset(request.params.dataset_id, request.body, conditionsOf(request))),
  );
  app.delete<{ Params: { dataset_id: string } }>(
    `${PATHS.configurationDatasets}/:dataset_id`,
    {
      ...conditional,
      schema: {
        summary: 'Mark a dataset as deleted; its node destroys the volume',
        headers: headersSchema(IF_TAG_HEADER, IF_UNLEASED_HEADER),
        params: DatasetPath,
        response: { 200: DatasetConfiguration, ...refusals },
      },
    },
    async (request, reply) =>
      send(reply, await service.deleteDataset(request.params.dataset_id, conditionsOf(request))),
  );
  app.post<{ Params: { dataset_id: string }; Body: ResizeDatasetBody }>(
    `${PATHS.configurationDatasets}/:dataset_id/size`,
    {
      ...conditional,
      schema: {
        summary: 'Make a dataset larger (addition)',
        headers: headersSchema(IF_TAG_HEADER),
        params: DatasetPath,
        body: ResizeDatasetBody,
        response: { 200: DatasetConfiguration, ...refusals },
      },
    },
    async (request, reply) =>
      send(reply, await service.resizeDataset(request.params.dataset_id, request.body, conditionsOf(request))),
  );

  app.get(PATHS.leases, { schema: { summary: 'Every lease', response: { 200: Type.Array(LeaseBody) } } }, async () =>
    service.read(() => [...deployment.leases()].map((lease) => leaseBody(lease, clock.wallMs()))),
  );
  app.post<{ Body: LeaseBody }>(
    PATHS.leases,
    {
      schema: {
        summary: 'Take a lease (201) or renew it (200)',
        headers: headersSchema(FIND_NAME_HEADER),
        body: LeaseBody,
        response: { 200: LeaseBody, 201: LeaseBody, ...refusals },
      },
    },
    async (request, reply) => {
      const leased = await service.acquireLease(request.body);
      const name = request.headers[FIND_NAME_HEADER];
      if (leased.status < 300 && typeof name === 'string') {
        const found = await service.read(() => inspectNamed(service, clock, decodeName(name)));
        const text = escapeNonAscii(JSON.stringify(found));
        if (text.length <= LONGEST_FOUND_HEADER) reply.header(FOUND_HEADER, text);
      }
      return send(reply, leased);
    },
  );
  app.delete<{ Params: { dataset_id: string } }>(
    `${PATHS.leases}/:dataset_id`,
    { schema: { summary: 'End a lease', params: DatasetPath, response: { 200: LeaseBody, ...refusals } } },
    async (request, reply) => send(reply, await service.releaseLease(request.params.dataset_id)),
  );
}

function inspectNamed(service: ControlService, clock: Clock, name: string): DatasetInspection[] {
  const { deployment, cluster } = service;
  return deployment
    .named(name)
    .map((dataset) =>
      inspectionOf(dataset, deployment.lease(dataset.id), deployment.copies.get(dataset.id), cluster, clock.wallMs()),
    );
}

function conditionsOf(request: FastifyRequest): Conditions {
  const tags = request.headers[IF_TAG_HEADER];
  // Of creates only: a move or a deletion is of a dataset that has its name already.
  const creates = request.routeOptions.url === PATHS.configurationDatasets;
  const name = creates ? request.headers[IF_NAME_UNUSED_HEADER] : undefined;
  const unleased = request.method === 'DELETE' ? request.headers[IF_UNLEASED_HEADER] : undefined;
  return {
    // Node joins a repeated header with commas.
    tags: tags === undefined ? undefined : [tags].flat().flatMap((value) => value.split(/\s*,\s*/)),
    nameUnused: typeof name === 'string' ? decodeName(name) : undefined,
    ...(unleased === undefined
      ? {}
      : { unleased: [unleased].flat().flatMap((value) => value.toLowerCase().split(/\s*,\s*/)) }),
  };
}

function decodeName(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function send(reply: FastifyReply, { status, body }: Reply<unknown>): FastifyReply {
  return reply.code(status).send(body);
}
