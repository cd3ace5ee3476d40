import type { Clock } from '../../kit/clock.ts';
import { errorCode } from '../../kit/coded-error.ts';
import { withDeadline } from '../../kit/deadline.ts';
import type { Logger } from '../../kit/logger.ts';
import type { KnownVolume } from '../../volumes/catalog.ts';
import type { LastingHolders } from '../../volumes/lasting-holders.ts';
import { VolumeError } from '../../volumes/volume-error.ts';
import type { Volumes } from '../../volumes/volumes.ts';
import { parseDockerOptions } from './docker-options.ts';

/** Holders of this frontend: `docker/<mount id>/<volume>`, and `docker/<volume>` for a Docker that sends no ids. */
export const DOCKER_PREFIX = 'docker/';

export interface PluginWorld {
  readonly volumes: Volumes;
  readonly holders: LastingHolders;
  /** Profiles of this node, when known. */
  readonly knownProfiles: (() => readonly string[]) | undefined;
  /** `keep`: Remove does nothing, as in Flocker's plugin. */
  readonly remove: 'delete' | 'keep';
  /** Longest time for a Mount, milliseconds. */
  readonly mountTimeoutMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A request's JSON body. */
export type PluginRequest = Readonly<Record<string, unknown>>;
type PluginCall = (world: PluginWorld, request: PluginRequest, signal: AbortSignal) => Promise<object> | object;

const SHORT_TIMEOUT_MS = 30_000;
const REMOVE_TIMEOUT_MS = 60_000;
/** After this the release goes on by itself. */
const RELEASE_TIMEOUT_MS = 10_000;

/** The volume plugin protocol v1 (contract 5), by path. A call that throws is answered with the error's text in `Err`. */
export const PLUGIN_CALLS: ReadonlyMap<string, PluginCall> = new Map<string, PluginCall>([
  ['/Plugin.Activate', () => ({ Implements: ['VolumeDriver'] })],
  ['/VolumeDriver.Capabilities', () => ({ Capabilities: { Scope: 'global' }, Err: '' })],
  ['/VolumeDriver.Create', create],
  ['/VolumeDriver.Remove', remove],
  ['/VolumeDriver.Mount', mount],
  ['/VolumeDriver.Unmount', unmount],
  ['/VolumeDriver.Path', path],
  ['/VolumeDriver.Get', get],
  ['/VolumeDriver.List', list],
]);

async function create(world: PluginWorld, request: PluginRequest, signal: AbortSignal): Promise<object> {
  const { volumes, clock, logger, knownProfiles } = world;
  const name = nameIn(request);
  const { spec, ignored } = parseDockerOptions(name, optionsIn(request));
  if (ignored.length > 0) logger.warn({ volume: name, ignored }, 'Docker gave options that are not known here');
  const profiles = knownProfiles === undefined ? {} : { knownProfiles: knownProfiles() };
  const notes = await withDeadline(clock, SHORT_TIMEOUT_MS, 'the creation', signal, (soon) =>
    volumes.catalog.create({ ...spec, ...profiles }, soon),
  );
  if (notes.length > 0) logger.warn({ volume: name, notes }, 'a volume that was to be created exists already');
  return { Err: '' };
}

async function remove(world: PluginWorld, request: PluginRequest, signal: AbortSignal): Promise<object> {
  const { volumes, clock, logger } = world;
  const name = nameIn(request);
  if (world.remove === 'keep') return { Err: '' };
  const left = await withDeadline(clock, REMOVE_TIMEOUT_MS, 'the removal', signal, (soon) =>
    volumes.catalog.remove(name, soon),
  );
  if (left !== undefined) logger.warn({ volume: name }, left);
  return { Err: '' };
}

async function mount(world: PluginWorld, request: PluginRequest, signal: AbortSignal): Promise<object> {
  const { holders, clock, mountTimeoutMs } = world;
  const name = nameIn(request);
  const id = idIn(request);
  const holder = { id: holderId(name, id), detail: id === undefined ? 'Docker' : `Docker, mount ${id}`.slice(0, 1000) };
  const { path: mountpoint } = await withDeadline(clock, mountTimeoutMs, 'the mount', signal, (soon) =>
    holders.acquire(holder, { name, create: 'never', mode: 'rw' }, soon),
  );
  return { Err: '', Mountpoint: mountpoint };
}

async function unmount(world: PluginWorld, request: PluginRequest): Promise<object> {
  const name = nameIn(request);
  const through = await world.holders.release(holderId(name, idIn(request)), RELEASE_TIMEOUT_MS);
  if (!through) world.logger.warn({ volume: name }, 'a volume is unmounted, and giving up its lease goes on');
  return { Err: '' };
}

async function path(world: PluginWorld, request: PluginRequest, signal: AbortSignal): Promise<object> {
  const known = await look(world, nameIn(request), signal);
  if (known.path === null) return { Err: 'Volume not available.', Mountpoint: '' };
  return { Err: '', Mountpoint: known.path };
}

async function get(world: PluginWorld, request: PluginRequest, signal: AbortSignal): Promise<object> {
  return { Err: '', Volume: shown(await look(world, nameIn(request), signal)) };
}

async function list({ volumes, clock }: PluginWorld, _request: PluginRequest, signal: AbortSignal): Promise<object> {
  const all = await withDeadline(clock, SHORT_TIMEOUT_MS, 'the list', signal, (soon) => volumes.catalog.list(soon));
  return { Err: '', Volumes: all.map(shown) };
}

/** The text of `Err`. */
export function errText(error: unknown): string {
  if (errorCode(error) === 'volume_not_found') return 'Could not find volume with given name.';
  if (error instanceof VolumeError) return error.message;
  return 'the node agent failed; its log says more';
}

function look({ volumes, clock }: PluginWorld, name: string, signal: AbortSignal): Promise<KnownVolume> {
  return withDeadline(clock, SHORT_TIMEOUT_MS, 'the look', signal, (soon) => volumes.catalog.get(name, soon));
}

function shown({ name, path: mountpoint }: KnownVolume): object {
  return { Name: name, Mountpoint: mountpoint ?? '' };
}

/** Volume names have no slash, so that holders with and without an id cannot be the same. */
function holderId(name: string, id: string | undefined): string {
  return id === undefined ? `${DOCKER_PREFIX}${name}` : `${DOCKER_PREFIX}${encodeURIComponent(id)}/${name}`;
}

function nameIn({ Name }: PluginRequest): string {
  if (typeof Name === 'string' && Name !== '') return Name;
  throw new VolumeError('bad_name', 'the request has no "Name" of a volume');
}

/** Before 1.12 Docker sent none. */
function idIn({ ID }: PluginRequest): string | undefined {
  return typeof ID === 'string' && ID !== '' ? ID : undefined;
}

function optionsIn({ Opts }: PluginRequest): Readonly<Record<string, unknown>> {
  return typeof Opts === 'object' && Opts !== null ? (Opts as Readonly<Record<string, unknown>>) : {};
}
