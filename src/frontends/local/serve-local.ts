import { chmod } from 'node:fs/promises';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import Fastify, { type FastifyReply } from 'fastify';
import type { TSchema } from 'typebox';
import type { Clock } from '../../kit/clock.ts';
import { errorText } from '../../kit/coded-error.ts';
import { withDeadline } from '../../kit/deadline.ts';
import type { Logger } from '../../kit/logger.ts';
import { prepareSocketPath } from '../../kit/socket-file.ts';
import type { VolumeSpec } from '../../volumes/volume-spec.ts';
import type { Volumes } from '../../volumes/volumes.ts';
import { ATTENDED_PREFIX, Attendance } from './attendance.ts';
import { LOCAL_STATUS, LocalError, localErrorOf } from './local-error.ts';
import * as schemas from './local-schemas.ts';
import { ProcessTable } from './process-table.ts';

/** A further `POST` with JSON that this socket serves. */
export interface LocalCall {
  readonly path: string;
  readonly body: TSchema;
  /** `body` fits the schema; the signal aborts when the client goes away. */
  readonly answer: (body: unknown, signal: AbortSignal) => Promise<object>;
}

export interface LocalServerOptions {
  readonly volumes: Volumes;
  readonly socketPath: string;
  /** The processes of this machine; /proc unless given. */
  readonly processes?: ProcessTable;
  /** Profiles of this node; a wish for another one is refused before anything is made. Unknown unless given. */
  readonly knownProfiles?: () => readonly string[];
  /** Calls of other frontends. */
  readonly calls?: readonly LocalCall[];
  readonly clock: Clock;
  readonly logger: Logger;
  /** Time a client without a registered process has to come back after a restart of the agent, milliseconds; 10,000 unless given. */
  readonly returnMs?: number;
  /** Time between two looks at processes whose client is gone, milliseconds; 1,000 unless given. */
  readonly lookMs?: number;
}

export interface LocalServer {
  /** Closes the socket and all connections; holders stay. */
  close(): Promise<void>;
}

/** Serves the node agent's own API on a unix socket that only its user can open. */
export async function serveLocal(options: LocalServerOptions): Promise<LocalServer> {
  const { volumes, socketPath, clock, logger, processes = new ProcessTable() } = options;
  await prepareSocketPath(socketPath);
  const { returnMs = 10_000, lookMs = 1_000 } = options;
  const attendance = new Attendance({ volumes, processes, clock, logger, returnMs, lookMs });
  const server = createServer(options, attendance);
  const close = async (): Promise<void> => {
    await attendance.close();
    await server.close();
  };
  try {
    await server.listen({ path: socketPath });
    await chmod(socketPath, 0o600);
  } catch (error) {
    await close();
    throw error;
  }
  return { close };
}

// oxlint-disable-next-line typescript/explicit-function-return-type -- the provider's type is built up by the calls
function createServer(options: LocalServerOptions, attendance: Attendance) {
  const { volumes, clock, logger } = options;
  const server = Fastify({
    logger: false,
    bodyLimit: 64 * 1024,
    requestTimeout: 30_000,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 2048 },
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false } },
  }).withTypeProvider<TypeBoxTypeProvider>();

  server.setErrorHandler((error, _request, reply) => {
    const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500;
    const known = status >= 400 && status < 500 ? new LocalError('bad_request', errorText(error)) : localErrorOf(error);
    if (known.code === 'internal') logger.error({ error: errorText(error) }, 'a request to the local API failed');
    return reply.code(LOCAL_STATUS[known.code]).send({ code: known.code, message: known.message });
  });
  server.setNotFoundHandler((request, reply) =>
    reply.code(404).send({ code: 'not_found', message: `there is no ${request.method} ${request.url}` }),
  );

  server.post('/v1/acquire', { schema: { body: schemas.AcquireBody } }, async (request, reply) => {
    const { holder, volume, timeout_ms } = request.body;
    if (holder.id.startsWith(ATTENDED_PREFIX) && !attendance.attended(holder.id))
      throw new LocalError('not_attended', `${holder.id} has to be attended first: open /v1/holders/<id>/attend`);
    const got = await withDeadline(clock, timeout_ms, 'the acquire', hangup(reply), (signal) =>
      volumes.acquire(holder, specOf(volume, options.knownProfiles?.()), signal),
    );
    const { path, datasetId, sizeBytes, created, notes } = got;
    const answer: schemas.AcquireAnswer = {
      path,
      dataset_id: datasetId,
      size: sizeBytes ?? null,
      created,
      notes: [...notes],
    };
    return answer;
  });

  server.post('/v1/release', { schema: { body: schemas.ReleaseBody } }, ({ body }) =>
    attendance
      .release(body.holder_id, body.delete_if_created ?? false)
      .then((left): schemas.ReleaseAnswer => ({ released: left.length === 0, processes: left })),
  );

  const holderRoute = { params: schemas.HolderParams };
  const processRoute = { ...holderRoute, body: schemas.ProcessBody };
  server.post('/v1/holders/:id/process', { schema: processRoute }, ({ params, body }) =>
    attendance.register(params.id, body.pid, body.targets).then((targets): schemas.ProcessAnswer => ({ targets })),
  );

  server.get('/v1/holders/:id/attend', { schema: holderRoute }, (request, reply) => {
    const { id } = request.params;
    if (!id.startsWith(ATTENDED_PREFIX))
      throw new LocalError('bad_holder', `only holders ${ATTENDED_PREFIX}… are attended, not ${id}`);
    const leave = attendance.open(id);
    reply.hijack();
    reply.raw.once('close', leave);
    reply.raw.writeHead(200, { 'content-type': 'application/json' });
    reply.raw.write('{"attended":true}\n');
  });

  for (const { path, body, answer } of options.calls ?? []) {
    server.post(path, { schema: { body } }, (request, reply) => answer(request.body, hangup(reply)));
  }

  server.get('/v1/volumes', () => listVolumes(volumes));

  server.get('/v1/status', (): schemas.StatusAnswer => {
    const list = volumes.list();
    const holders = new Set(list.flatMap((volume) => volume.holders.map((one) => one.holderId))).size;
    const lost = list.filter(({ lease }) => lease.kind === 'lost').length;
    return { volumes: list.length, holders, ...attendance.counts, lost_leases: lost };
  });
  return server;
}

/** Aborts when the client goes away before its answer was sent. */
function hangup(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableEnded) gone.abort(new Error('the client closed its connection'));
  });
  return gone.signal;
}

function specOf(volume: schemas.AcquireBody['volume'], knownProfiles: readonly string[] | undefined): VolumeSpec {
  const { name, size, profile, filesystem, create, mode } = volume;
  return {
    name,
    create,
    mode,
    ...(size === undefined ? {} : { sizeBytes: size }),
    ...(profile === undefined ? {} : { profile }),
    ...(filesystem === undefined ? {} : { filesystem }),
    ...(knownProfiles === undefined ? {} : { knownProfiles }),
  };
}

function listVolumes(volumes: Volumes): schemas.VolumesAnswer {
  return {
    volumes: volumes.list().map(({ volume, datasetId, path, sizeBytes, lease, holders }) => ({
      name: volume,
      dataset_id: datasetId,
      path,
      size: sizeBytes,
      lease: lease.kind,
      problem: lease.kind === 'lost' ? lease.problem : null,
      holders: holders.map(({ holderId, detail, state, mode, sinceMs }) => ({
        id: holderId,
        detail,
        state,
        mode,
        since: new Date(sinceMs).toISOString(),
      })),
    })),
  };
}
