import { chmod } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Clock } from '../../kit/clock.ts';
import { errorText } from '../../kit/coded-error.ts';
import type { Logger } from '../../kit/logger.ts';
import { prepareSocketPath } from '../../kit/socket-file.ts';
import { LastingHolders } from '../../volumes/lasting-holders.ts';
import { VolumeError } from '../../volumes/volume-error.ts';
import type { Volumes } from '../../volumes/volumes.ts';
import { DOCKER_PREFIX, errText, PLUGIN_CALLS, type PluginRequest, type PluginWorld } from './plugin-calls.ts';

export interface DockerServerOptions {
  readonly volumes: Volumes;
  readonly socketPaths: readonly string[];
  /** A socket that cannot be made is an error; otherwise only its log line says so. */
  readonly required: boolean;
  /** New at every boot of this machine: containers of earlier ones hold nothing. */
  readonly bootId: string;
  /** Profiles of this node; a wish for another one is refused. Unknown unless given. */
  readonly knownProfiles?: () => readonly string[];
  /** Whether Remove deletes the volume, or does nothing as in Flocker's plugin. */
  readonly remove: 'delete' | 'keep';
  readonly clock: Clock;
  readonly logger: Logger;
  /** Longest time for a Mount, milliseconds; 120,000 unless given, as in Flocker's plugin. */
  readonly mountTimeoutMs?: number;
}

export interface DockerServer {
  /** Closes the sockets and all connections; containers keep their volumes. */
  close(): Promise<void>;
}

const MOST_BODY_BYTES = 64 * 1024;

/** Serves Docker's volume plugin protocol on unix sockets that only their user can open. */
export async function serveDocker(options: DockerServerOptions): Promise<DockerServer> {
  const { volumes, bootId, knownProfiles, remove, clock, logger, mountTimeoutMs = 120_000 } = options;
  const holders = new LastingHolders({ volumes, prefix: DOCKER_PREFIX, bootId, clock, logger });
  const world: PluginWorld = { volumes, holders, knownProfiles, remove, mountTimeoutMs, clock, logger };
  const servers: Server[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(servers.splice(0).map(closed));
  };
  for (const path of options.socketPaths) {
    try {
      servers.push(await listen(path, world));
    } catch (error) {
      if (options.required) {
        await close();
        throw error;
      }
      logger.warn({ path, error: errorText(error) }, 'no Docker volume plugin here');
    }
  }
  return { close };
}

async function listen(path: string, world: PluginWorld): Promise<Server> {
  await prepareSocketPath(path, { directory: 'shared' });
  const server = createServer({ requestTimeout: 30_000 }, (request, response) => {
    answer(world, request, response).catch((error: unknown) => {
      world.logger.warn({ path: request.url, error: errorText(error) }, 'could not answer Docker');
      response.destroy();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  await chmod(path, 0o600);
  return server;
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

async function answer(world: PluginWorld, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = (request.url ?? '').replace(/\?.*$/s, '');
  const call = PLUGIN_CALLS.get(path);
  if (call === undefined) return send(response, 404, { Err: `there is no ${path}` });
  if (request.method !== 'POST') return send(response, 405, { Err: `${path} takes POST only` }, { allow: 'POST' });
  const text = await bodyOf(request);
  if (text === undefined) return send(response, 413, { Err: 'the body is too long' }, { connection: 'close' });
  const body = path === '/Plugin.Activate' ? {} : parseBody(text);
  if (body === undefined) return send(response, 400, { Err: 'the body is no JSON object' });
  try {
    send(response, 200, await call(world, body, hangup(response)));
  } catch (error) {
    if (!(error instanceof VolumeError))
      world.logger.error({ path, error: errorText(error) }, 'a call of Docker failed');
    send(response, readsOnlyStatus(request) ? 500 : 200, {
      Err: errText(error),
      ...(path === '/VolumeDriver.Mount' ? mountpointIn(error) : {}),
    });
  }
}

/**
 * Podman (4.3) looks at the status only: with 200 and an `Err` it takes a volume for made that is not. Docker sends `accept`
 * and no content type, podman the other way round; Docker takes `Err` with either status.
 */
function readsOnlyStatus({ headers }: IncomingMessage): boolean {
  const { accept, 'content-type': type = '', 'user-agent': agent = '' } = headers;
  return (
    accept === undefined && type.startsWith('application/vnd.docker.plugins') && agent.startsWith('Go-http-client')
  );
}

/** A mount that came too late has an empty mount point in its answer, an unknown volume has none (contract 5). */
function mountpointIn(error: unknown): object {
  return error instanceof VolumeError && error.code === 'volume_not_found' ? {} : { Mountpoint: '' };
}

function send(response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    ...headers,
  });
  response.end(text);
}

/** Undefined when it is too long. */
async function bodyOf(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MOST_BODY_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Docker sends no body, or `null`, where there is nothing to say. */
function parseBody(text: string): PluginRequest | undefined {
  if (text.trim() === '') return {};
  try {
    const value: unknown = JSON.parse(text);
    if (value === null) return {};
    return typeof value === 'object' && !Array.isArray(value) ? (value as PluginRequest) : undefined;
  } catch {
    return undefined;
  }
}

/** Aborts when Docker goes away before its answer was sent. */
function hangup(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  response.once('close', () => {
    if (!response.writableEnded) gone.abort(new Error('Docker closed its connection'));
  });
  return gone.signal;
}
