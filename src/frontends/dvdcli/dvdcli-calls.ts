import { type Static, type TSchema, Type } from 'typebox';
import type { Clock } from '../../kit/clock.ts';
import { errorText } from '../../kit/coded-error.ts';
import { withDeadline } from '../../kit/deadline.ts';
import type { Logger } from '../../kit/logger.ts';
import { LastingHolders } from '../../volumes/lasting-holders.ts';
import { VolumeError } from '../../volumes/volume-error.ts';
import type { VolumeSpec } from '../../volumes/volume-spec.ts';
import type { Volumes } from '../../volumes/volumes.ts';
import { type DvdcliOptions, parseDvdcliOptions } from './dvdcli-options.ts';

const Name = Type.String();
const timeout_ms = Type.Integer({ minimum: 1, maximum: 3_600_000 });
const NameBody = Type.Object({ name: Name, timeout_ms }, { additionalProperties: false });
const ListBody = Type.Object({ timeout_ms }, { additionalProperties: false });
const MakeBody = Type.Object(
  {
    name: Name,
    timeout_ms,
    /** `key=value` */
    options: Type.Array(Type.String()),
    /** A missing volume is not made. */
    explicit_create: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);
type MakeBody = Static<typeof MakeBody>;

/** What dvdcli prints: `lines` on standard output, `notes` as warnings. */
interface DvdcliAnswer {
  readonly lines: readonly string[];
  readonly notes: readonly string[];
}

/** `POST <path>` of the node agent's local API. */
export interface DvdcliCall {
  readonly path: string;
  readonly body: TSchema;
  /** `body` fits the schema. The signal aborts when the client goes away. */
  readonly answer: (body: unknown, signal: AbortSignal) => Promise<DvdcliAnswer>;
}

/** Second mounts of volumes that nobody can write through, by dataset. */
export interface ReadOnlyMounts {
  open(datasetId: string, path: string): Promise<string>;
  close(datasetId: string): Promise<void>;
  closeOthers(datasetIds: ReadonlySet<string>): Promise<void>;
}

export interface DvdcliCallsOptions {
  readonly volumes: Volumes;
  /** New at every boot of this machine: what was mounted in earlier ones is not mounted any more. */
  readonly bootId: string;
  /** Profiles of this node; a wish for another one is refused. Unknown unless given. */
  readonly knownProfiles?: () => readonly string[];
  /** Whether `overwritefs=true` may delete a volume and make it anew. */
  readonly allowOverwrite: boolean;
  /** Without, `access=ro` is refused. */
  readonly readOnly?: ReadOnlyMounts;
  readonly clock: Clock;
  readonly logger: Logger;
}

const PREFIX = 'dvdcli/';
const MOST_REMEMBERED = 1_000;

/** The commands of dvdcli, as it sends them to the node agent. */
export function dvdcliCalls(options: DvdcliCallsOptions): readonly DvdcliCall[] {
  const commands = new Commands(options);
  const within = <T>(body: { timeout_ms: number }, signal: AbortSignal, work: (soon: AbortSignal) => Promise<T>) =>
    withDeadline(options.clock, body.timeout_ms, 'the command', signal, work);
  const call = <Schema extends TSchema>(
    name: string,
    schema: Schema,
    work: (body: Static<Schema>, soon: AbortSignal) => Promise<DvdcliAnswer>,
  ): DvdcliCall => ({
    path: `/v1/dvdcli/${name}`,
    body: schema,
    answer: (body, signal) =>
      within(body as { timeout_ms: number }, signal, (soon) => work(body as Static<Schema>, soon)),
  });
  const { catalog } = options.volumes;
  return [
    call('create', MakeBody, (body, soon) => commands.create(body, soon)),
    call('remove', NameBody, async ({ name }, soon) => {
      const left = await catalog.remove(name, soon);
      return { lines: [], notes: left === undefined ? [] : [left] };
    }),
    call('mount', MakeBody, (body, soon) => commands.mount(body, soon)),
    call('unmount', NameBody, (body, soon) => commands.unmount(body, soon)),
    call('path', NameBody, async ({ name }, soon) => {
      const path = (await commands.path(name)) ?? (await catalog.get(name, soon)).path;
      return { lines: path === null ? [] : [path], notes: [] };
    }),
    call('get', NameBody, async ({ name }, soon) => ({ lines: [(await catalog.get(name, soon)).name], notes: [] })),
    call('list', ListBody, async (_body, soon) => ({
      lines: (await catalog.list(soon)).map(({ name }) => name),
      notes: [],
    })),
  ];
}

class Commands {
  readonly #options: DvdcliCallsOptions;
  readonly #holders: LastingHolders;
  /** Volumes whose last mount failed. */
  readonly #failed = new Set<string>();

  constructor(options: DvdcliCallsOptions) {
    const { volumes, bootId, clock, logger } = options;
    this.#options = options;
    this.#holders = new LastingHolders({ volumes, prefix: PREFIX, bootId, clock, logger });
    // What an earlier process made and did not answer, or did not end.
    const needed = volumes
      .list()
      .flatMap(({ datasetId, holders }) =>
        holders.some(({ holderId }) => this.#holders.held(holderId).length > 0) ? [datasetId] : [],
      );
    options.readOnly?.closeOthers(new Set(needed)).catch((error: unknown) => {
      logger.warn({ error: errorText(error) }, 'could not end read-only mounts of an earlier time');
    });
  }

  async create({ name, options }: MakeBody, signal: AbortSignal): Promise<DvdcliAnswer> {
    const parsed = parseDvdcliOptions(name, options);
    const notes = await this.#options.volumes.catalog.create(this.#spec(name, parsed, 'auto'), signal);
    return { lines: [], notes: [...parsed.notes, ...notes] };
  }

  /** One holder for a volume, however often it is mounted: the stock isolator counts by itself. */
  async mount(body: MakeBody, signal: AbortSignal): Promise<DvdcliAnswer> {
    try {
      const answer = await this.#mount(body, signal);
      this.#failed.delete(body.name);
      return answer;
    } catch (error) {
      this.#failed.add(body.name);
      const [oldest] = this.#failed;
      if (this.#failed.size > MOST_REMEMBERED && oldest !== undefined) this.#failed.delete(oldest);
      throw error;
    }
  }

  async #mount({ name, options, explicit_create }: MakeBody, signal: AbortSignal): Promise<DvdcliAnswer> {
    const parsed = parseDvdcliOptions(name, options);
    const { readOnly } = this.#options;
    const isReadOnly = parsed.wish.mode === 'ro';
    if (isReadOnly && readOnly === undefined)
      throw new VolumeError('refused', `volume ${name}: access=ro needs a node agent that runs as root`);
    const asked = this.#spec(name, parsed, explicit_create === true ? 'never' : 'auto');
    const holder = { id: `${PREFIX}${name}`, detail: 'dvdcli mount' };
    const anew = parsed.overwrite && this.#holders.held(holder.id).length === 0;
    const spec = anew ? { ...(await this.#remove(name, signal)), ...asked, create: 'auto' as const } : asked;
    let shown: string | undefined;
    const { path, notes } = await this.#holders.acquire(holder, spec, signal, async (acquired) => {
      if (isReadOnly) shown = await this.#open(name, acquired.datasetId, acquired.path);
    });
    return { lines: [shown ?? path], notes: [...parsed.notes, ...notes] };
  }

  /**
   * The stock isolator unmounts all volumes of a container that failed, also those that were never mounted, and when that
   * fails it never lets go of the container: after a mount that failed, and with the control service away, there is
   * nothing to complain about.
   */
  async unmount({ name }: { readonly name: string }, signal: AbortSignal): Promise<DvdcliAnswer> {
    const { clock, volumes } = this.#options;
    const startedMs = clock.monotonicMs();
    const present = volumes.holdings(`${PREFIX}${name}`).length > 0;
    const excused = this.#failed.delete(name);
    if (!present && !excused) {
      try {
        await volumes.catalog.get(name, signal);
      } catch (error) {
        if (!(error instanceof VolumeError) || error.code !== 'unreachable') throw error;
        return { lines: [], notes: [`${error.message}; the volume was not mounted here`] };
      }
    }
    // Before the lease is given up: while it is mounted the volume cannot leave this node.
    for (const { datasetId } of volumes.holdings(`${PREFIX}${name}`)) await this.#close(name, datasetId);
    const leftMs = Math.max(1, RELEASE_TIMEOUT_MS - (clock.monotonicMs() - startedMs));
    if (await this.#holders.release(`${PREFIX}${name}`, leftMs)) return { lines: [], notes: [] };
    return {
      lines: [],
      notes: [`volume ${name} is unmounted; giving up its lease takes longer and goes on by itself`],
    };
  }

  /** Where the volume is for who mounted it; undefined when it is not mounted by dvdcli. */
  async path(name: string): Promise<string | undefined> {
    const path = this.#options.volumes.heldPath(name);
    const [held] = this.#holders.held(`${PREFIX}${name}`);
    if (path === undefined || held?.mode !== 'ro') return path;
    return this.#open(name, held.datasetId, path);
  }

  async #open(name: string, datasetId: string, path: string): Promise<string | undefined> {
    try {
      return await this.#options.readOnly?.open(datasetId, path);
    } catch (error) {
      throw new VolumeError('refused', `volume ${name} could not be mounted read-only: ${errorText(error)}`);
    }
  }

  async #close(name: string, datasetId: string): Promise<void> {
    try {
      await this.#options.readOnly?.close(datasetId);
    } catch (error) {
      throw new VolumeError('in_use', `volume ${name} is still used through its read-only mount: ${errorText(error)}`);
    }
  }

  /** Removes a volume that is to be made anew; resolves with what it was like. */
  async #remove(name: string, signal: AbortSignal): Promise<Pick<VolumeSpec, 'sizeBytes' | 'profile'>> {
    const { catalog } = this.#options.volumes;
    try {
      const { sizeBytes, profile } = await catalog.get(name, signal);
      await catalog.remove(name, signal);
      return { ...(sizeBytes === undefined ? {} : { sizeBytes }), ...(profile === undefined ? {} : { profile }) };
    } catch (error) {
      if (error instanceof VolumeError && error.code === 'volume_not_found') return {};
      throw error;
    }
  }

  #spec(name: string, { wish, overwrite }: DvdcliOptions, create: VolumeSpec['create']): VolumeSpec {
    const { allowOverwrite, knownProfiles } = this.#options;
    if (overwrite && !allowOverwrite)
      throw new VolumeError(
        'refused',
        `volume ${name}: overwritefs=true loses what is on the volume, and the operator of this node does not allow it`,
      );
    return { name, create, ...wish, ...(knownProfiles === undefined ? {} : { knownProfiles: knownProfiles() }) };
  }
}

const RELEASE_TIMEOUT_MS = 30_000;
