import type { Socket } from 'node:net';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify';
import type { Clock } from '../../kit/clock.ts';
import { errorText } from '../../kit/coded-error.ts';
import type { Logger } from '../../kit/logger.ts';
import type { Volumes } from '../../volumes/volumes.ts';
import { applicantOf } from './applicant.ts';
import { holderIdOf, parseContainerId } from './container-id.ts';
import type { Containers } from './containers.ts';
import { IsolatorError, type NodeName, renderError } from './isolator-error.ts';
import * as schemas from './isolator-schemas.ts';
import type { LossWatch } from './loss-watch.ts';
import type { OperatorSettings } from './operator-rules.ts';
import { usageOf } from './usage.ts';
import type { VolumeProbe } from './volume-probe.ts';

export interface IsolatorServerParts {
  readonly containers: Containers;
  readonly volumes: Volumes;
  readonly probe: VolumeProbe;
  readonly settings: OperatorSettings;
  readonly node: NodeName;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly lossWatch: LossWatch;
}

/** What a caller that does not say so is taken to wait, milliseconds: less than Mesos gives an executor to register. */
const USUAL_TIMEOUT_MS = 50_000;
const LONGEST_TIMEOUT_MS = 3_600_000;
/** Of the time the caller waits, what may go into getting the volumes: the rest is for giving them back. */
const SHARE_OF_TIMEOUT = 0.9;
/** A watch without anything to say is answered after this long, milliseconds; the caller then asks again. */
const WATCH_HOLD_MS = 50_000;
/** A Mesos agent may have thousands of containers when it recovers. */
const LARGEST_BODY_BYTES = 64 * 2 ** 20;

// oxlint-disable-next-line typescript/explicit-function-return-type -- the provider's type is built up by the calls
export function createIsolatorServer(parts: IsolatorServerParts) {
  const { containers, volumes, settings, node, clock, logger, probe, lossWatch } = parts;
  const server = Fastify({
    logger: false,
    bodyLimit: LARGEST_BODY_BYTES,
    requestTimeout: 30_000,
    forceCloseConnections: true,
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false } },
  }).withTypeProvider<TypeBoxTypeProvider>();
  const arrivals = numberConnections(server.server);

  server.setErrorHandler((error, request, reply) => {
    const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500;
    const refusal = status >= 400 && status < 500 ? new IsolatorError('bad_request', errorText(error)) : error;
    const { status: code, message, code: reason } = renderError(refusal, node);
    const fields = { call: request.url, code: reason, reason: errorText(refusal) };
    if (reason === 'internal') logger.error(fields, 'a call of the Mesos isolator failed');
    else logger.warn(fields, 'a call of the Mesos isolator was refused');
    return reply.code(code).send({ code: reason, message });
  });
  server.setNotFoundHandler((request) => {
    throw new IsolatorError('not_found', `there is no ${request.method} ${request.url}`);
  });

  server.post('/v1/isolator/prepare', { schema: { body: schemas.PrepareCall } }, async (request, reply) => {
    const applicant = applicantOf(request.body, settings);
    if (applicant === undefined) return {};
    const waitsMs = Math.min(request.body.timeout_ms ?? USUAL_TIMEOUT_MS, LONGEST_TIMEOUT_MS);
    const timeoutMs = Math.ceil(waitsMs * SHARE_OF_TIMEOUT);
    const connection = arrivals(request.raw.socket);
    const info = await containers.prepare(applicant, { connection, timeoutMs, signal: hangup(request, reply) });
    logger.info({ holder: applicant.holder.id, mounts: info.mounts }, 'prepared the volumes of a container');
    return info;
  });

  const aboutContainer = { schema: { body: schemas.ContainerCall } };
  const holderIn = (body: { container_id: unknown }): string => holderIdOf(parseContainerId(body.container_id));

  server.post('/v1/isolator/isolate', aboutContainer, ({ body }) => {
    holderIn(body);
    return {};
  });

  server.post('/v1/isolator/usage', aboutContainer, ({ body }) => usageOf(holderIn(body), { volumes, probe, clock }));

  server.post('/v1/isolator/cleanup', aboutContainer, async ({ body }) => {
    await containers.cleanup(holderIn(body));
    return {};
  });

  server.post('/v1/isolator/recover', { schema: { body: schemas.RecoverCall } }, async ({ body, raw }) => {
    // Its sender has given up on it, and containers may have come since that it does not list.
    if (raw.socket.destroyed) throw new IsolatorError('cancelled', 'the caller closed its connection');
    const ids = [...(body.states ?? []).map((state) => state.container_id), ...(body.orphans ?? [])];
    const listed = new Map(ids.map((json) => [holderIdOf(parseContainerId(json)), json]));
    const having = await containers.recover(new Set(listed.keys()), arrivals(raw.socket));
    return { containers: [...listed].filter(([holderId]) => having.has(holderId)).map(([, json]) => json) };
  });

  server.post('/v1/isolator/watch', aboutContainer, async (request, reply) => {
    const holderId = holderIn(request.body);
    if (!settings.killTasksOfLostVolumes || !containers.has(holderId)) return reply.code(204).send();
    return (await lossWatch.wait(holderId, WATCH_HOLD_MS, hangup(request, reply))) ?? {};
  });
  return server;
}

/** Numbers connections in the order they were made, also while this process was busy: the kernel keeps them in a queue. */
function numberConnections(server: {
  on(event: 'connection', listener: (socket: Socket) => void): unknown;
}): (socket: Socket) => number {
  const numbers = new WeakMap<Socket, number>();
  let last = 0;
  server.on('connection', (socket) => {
    last += 1;
    numbers.set(socket, last);
  });
  return (socket) => numbers.get(socket) ?? last;
}

/** Aborts when the client goes away before its answer was sent. */
function hangup(request: FastifyRequest, reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  const leave = (): void => gone.abort(new IsolatorError('cancelled', 'the caller closed its connection'));
  if (request.raw.socket.destroyed) leave();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) leave();
  });
  return gone.signal;
}
