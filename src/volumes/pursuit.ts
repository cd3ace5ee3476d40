import type { FlockerClient, MountedDataset } from '../client/flocker-client.ts';
import { backoffMs } from '../kit/backoff.ts';
import { pause } from '../kit/clock.ts';
import { errorCode, errorText } from '../kit/coded-error.ts';
import { DeadlineExceeded, withDeadline } from '../kit/deadline.ts';
import { type DatasetId, type NodeId, newDatasetId, parseDatasetId } from '../kit/ids.ts';
import type { Holding } from './holding.ts';
import { describeLeaseHolder } from './lease-holder.ts';
import { type Obstacle, obstacleOf } from './obstacle.ts';
import { metadataFor, notesOn } from './spec-notes.ts';
import { VolumeError, type VolumeErrorCode } from './volume-error.ts';
import { type AcquiredVolume, checkProfile, type Holder, type VolumeSpec } from './volume-spec.ts';
import type { VolumesWorld } from './volumes-world.ts';

type Found = Awaited<ReturnType<FlockerClient['findByName']>>;
type FoundDataset = Found['datasets'][number];

interface EarlyLook {
  readonly found: Promise<MountedDataset | Obstacle>;
  cancel(): void;
}

/** A node could not make the volume as it is configured. */
const UNMAKEABLE: ReadonlySet<VolumeErrorCode> = new Set(['no_such_profile', 'bad_size', 'no_space']);
const BACKOFF = { firstMs: 50, factor: 1.7, longestMs: 2_000 };

/** One acquire on its way to a mounted volume. Every obstacle sends it back to looking the volume up. */
export class Pursuit {
  readonly #world: VolumesWorld;
  readonly holder: Holder;
  readonly spec: VolumeSpec;
  readonly #stop = new AbortController();
  /** What this holder had of this volume before; stays as it is when this acquire fails. */
  #earlier: Holding | undefined;
  #obstacle: Obstacle | undefined;
  #unreachableSinceMs: number | undefined;
  /** The id of a creation whose outcome is not known. */
  #offeredId: DatasetId | undefined;
  #finished = false;

  constructor(world: VolumesWorld, holder: Holder, spec: VolumeSpec) {
    this.#world = world;
    this.holder = holder;
    this.spec = spec;
  }

  /** Makes {@link run} fail because of `reason`, unless it has succeeded already. */
  abandon(reason: unknown): void {
    if (!this.#finished) this.#stop.abort(this.#explain(reason));
  }

  /** Aborts with the error of this acquire as soon as it is abandoned. */
  get abandoned(): AbortSignal {
    return this.#stop.signal;
  }

  /** The error for a caller that gave up because of `reason`: it says what was waited for. */
  #explain(reason: unknown): VolumeError {
    if (reason instanceof VolumeError) return reason;
    const volume = `volume ${this.spec.name}`;
    const late = reason instanceof DeadlineExceeded || (reason instanceof Error && reason.name === 'TimeoutError');
    if (!late) return new VolumeError('cancelled', `${volume}: given up: ${errorText(reason)}`, { cause: reason });
    const last = this.#obstacle ?? {
      code: 'timed_out',
      message: 'an earlier request for this volume was not done yet',
    };
    return new VolumeError(last.code, `${volume} was not ready in time: ${last.message}`, { cause: reason });
  }

  /** To be called once, when no other work on this volume's name is under way. */
  async run(): Promise<AcquiredVolume> {
    this.#stop.signal.throwIfAborted();
    this.#obstacle = { code: 'unreachable', message: 'the control service has not answered' };
    const present = this.#world.ledger.get(this.holder.id, this.spec.name);
    this.#earlier = present?.state === 'releasing' ? undefined : present;
    try {
      return await this.#untilMounted();
    } catch (error) {
      const left = this.#world.ledger.get(this.holder.id, this.spec.name);
      if (left !== undefined && this.#earlier === undefined && left.state !== 'releasing') {
        // Nobody ever had what was made just now, and with its settings it would be in the way of the next try.
        const unmakeable = error instanceof VolumeError && UNMAKEABLE.has(error.code);
        this.#world.ledger.abandon(left, unmakeable);
      }
      this.#stop.signal.throwIfAborted();
      throw error;
    }
  }

  async #untilMounted(): Promise<AcquiredVolume> {
    const guess = this.#earlier?.datasetId ?? this.#world.lastSeen.get(this.spec.name);
    let found = guess === undefined ? await this.#tried(() => this.#find()) : await this.#findLeasing(guess);
    for (let attempt = 0; ; attempt += 1) {
      this.#stop.signal.throwIfAborted();
      const now = found;
      const outcome = 'code' in now ? now : await this.#tried(() => this.#oneTry(now));
      if ('path' in outcome) return outcome;
      await this.#rest(outcome, attempt);
      found = await this.#tried(() => this.#find());
    }
  }

  /**
   * What was here before most likely is what the name means still: one request asks for its lease, once the intent is on
   * disk, and for what the name means. What came of the lease is seen when it is taken in earnest.
   */
  async #findLeasing(guess: DatasetId): Promise<Found | Obstacle> {
    const { leases, confirmsMounts } = this.#world;
    const recorded = this.#intend(guess, false);
    if (!confirmsMounts || leases.term(guess) !== undefined) {
      // Only reading, so it need not wait for the disk.
      const [found] = await Promise.all([this.#tried(() => this.#find()), recorded]);
      return found;
    }
    await recorded;
    const found = await leases.takeAndFind(guess, this.spec.name).catch(() => undefined);
    return found ?? this.#tried(() => this.#find());
  }

  /** Turns an error that may pass into an obstacle. */
  async #tried<T>(work: () => Promise<T>): Promise<T | Obstacle> {
    try {
      const result = await work();
      this.#unreachableSinceMs = undefined;
      return result;
    } catch (error) {
      this.#stop.signal.throwIfAborted();
      return obstacleOf(this.spec.name, error);
    }
  }

  async #rest(obstacle: Obstacle, attempt: number): Promise<void> {
    const { clock, random, patienceMs } = this.#world;
    this.#obstacle = obstacle;
    if (obstacle.code === 'unreachable') {
      this.#unreachableSinceMs ??= clock.monotonicMs();
      if (clock.monotonicMs() - this.#unreachableSinceMs > patienceMs) {
        throw new VolumeError(
          'unreachable',
          `volume ${this.spec.name}: no answer from the Flocker control service: ${obstacle.message}. Is it running?`,
        );
      }
    }
    if (obstacle.waited !== true) await pause(clock, backoffMs(BACKOFF, attempt, random), this.#stop.signal);
  }

  #find(): Promise<Found> {
    const { client, clock, requestTimeoutMs } = this.#world;
    return withDeadline(clock, requestTimeoutMs, 'looking a volume up', this.#stop.signal, (signal) =>
      client.findByName(this.spec.name, signal),
    );
  }

  async #oneTry(found: Found): Promise<AcquiredVolume | Obstacle> {
    const nodeId = await this.#world.nodeId();
    const dataset = this.#theOne(found.datasets) ?? (await this.#create(found.ifUnchanged, nodeId));
    const datasetId = parseDatasetId(dataset.dataset_id);
    if (datasetId === undefined)
      throw new VolumeError('refused', `volume ${this.spec.name} has the id ${dataset.dataset_id}, which is no UUIDv4`);
    const created = await this.#intend(datasetId, false);
    const isHere = dataset.primary.toLowerCase() === nodeId;
    const early = isHere && this.#world.confirmsMounts ? this.#lookEarly(datasetId, nodeId, found) : undefined;
    const leased = await this.#lease(datasetId);
    if (leased !== undefined) {
      early?.cancel();
      return leased;
    }
    this.#world.ledger.claim(this.holder.id, this.spec.name);
    if (!isHere) {
      await this.#uninterrupted('moving a volume here', (signal) =>
        this.#world.client.moveDataset(datasetId, nodeId, { kind: 'none' }, signal),
      );
    }
    const mounted = await this.#mounted(datasetId, nodeId, early?.found);
    if ('code' in mounted) return mounted;
    return this.#finish(datasetId, mounted, created, created ? [] : notesOn(this.spec, dataset));
  }

  #theOne(datasets: readonly FoundDataset[]): FoundDataset | undefined {
    const [first, ...more] = datasets;
    if (more.length > 0) {
      const ids = datasets.map((dataset) => dataset.dataset_id).join(', ');
      const advice = 'Delete or rename all but one: which of them is meant cannot be guessed';
      throw new VolumeError(
        'ambiguous_name',
        `volume ${this.spec.name}: several datasets have this name: ${ids}. ${advice}`,
      );
    }
    if (first !== undefined || this.spec.create === 'auto') return first;
    throw new VolumeError('volume_not_found', `there is no volume ${this.spec.name}, and making one was not asked for`);
  }

  async #create(ifUnchanged: Found['ifUnchanged'], nodeId: NodeId): Promise<FoundDataset> {
    const { spec } = this;
    checkProfile(spec);
    // The id is ours and on disk before it is sent: an answer that gets lost leaves no doubt about who made the volume.
    const datasetId = this.#offeredId ?? newDatasetId(this.#world.newUuid);
    await this.#intend(datasetId, true);
    this.#offeredId = datasetId;
    const dataset = {
      primary: nodeId,
      datasetId,
      metadata: metadataFor(spec),
      ...(spec.sizeBytes === undefined ? {} : { maximumSizeBytes: spec.sizeBytes }),
    };
    try {
      const made = await this.#uninterrupted('creating a volume', (signal) =>
        this.#world.client.createDataset(dataset, ifUnchanged, signal),
      );
      this.#offeredId = undefined;
      return made;
    } catch (error) {
      if (errorCode(error) === 'id_in_use') this.#offeredId = undefined;
      throw error;
    }
  }

  /** Puts the intent on disk unless it is there; resolves with whether this holder's acquire made the dataset. */
  async #intend(datasetId: DatasetId, creating: boolean): Promise<boolean> {
    const { ledger, clock, leases } = this.#world;
    this.#stop.signal.throwIfAborted();
    const present = ledger.get(this.holder.id, this.spec.name);
    const same = present?.datasetId === datasetId;
    if (same && present.state !== 'releasing') return present.created;
    if (this.#earlier !== undefined)
      throw new VolumeError(
        'refused',
        `volume ${this.spec.name}: ${this.holder.id} holds dataset ${this.#earlier.datasetId} under this name, and now ` +
          `the name belongs to dataset ${datasetId}. Release the holder first`,
      );
    const created = creating || (same && present.created);
    await ledger.put({
      holderId: this.holder.id,
      detail: this.holder.detail,
      volume: this.spec.name,
      datasetId,
      mode: this.spec.mode,
      state: 'intent',
      created,
      deleteIfCreated: false,
      path: null,
      sizeBytes: null,
      sinceMs: clock.wallMs(),
      note: this.holder.note ?? present?.note ?? null,
    });
    if (present !== undefined && !same && ledger.live(present.datasetId).length === 0)
      await leases.giveUp(present.datasetId);
    this.#stop.signal.throwIfAborted();
    return created;
  }

  async #lease(datasetId: DatasetId): Promise<Obstacle | undefined> {
    const taken = await this.#tried(() => this.#world.leases.take(datasetId));
    this.#stop.signal.throwIfAborted();
    if (typeof taken !== 'object') return undefined;
    if (taken.code !== 'leased_elsewhere') return taken;
    const who = await this.#tried(() => describeLeaseHolder(this.#world.client, datasetId, this.#stop.signal));
    return typeof who === 'string' ? { code: 'leased_elsewhere', message: who } : taken;
  }

  /**
   * Looks for the mount while the lease is being taken. What is seen counts only if the mount is confirmed once the
   * volume is claimed: until then another node may still pull it away.
   */
  #lookEarly(datasetId: DatasetId, nodeId: NodeId, { mounted }: Found): EarlyLook {
    const seen = mounted.get(datasetId);
    if (seen?.primary === nodeId) return { found: Promise.resolve(seen), cancel: () => undefined };
    const cancel = new AbortController();
    const found = this.#look(datasetId, nodeId, AbortSignal.any([this.#stop.signal, cancel.signal]));
    found.catch(() => undefined);
    return { found, cancel: () => cancel.abort(new Error('the lease was not to be had')) };
  }

  async #look(datasetId: DatasetId, nodeId: NodeId, within: AbortSignal): Promise<MountedDataset | Obstacle> {
    const { client, clock, leases, mounts, lookAgainMs } = this.#world;
    const known = mounts.get(datasetId);
    if (known !== undefined && known.term === leases.term(datasetId)) return known.mounted;
    let message = `it is not mounted on node ${nodeId} yet`;
    const onProblem = (problem: string): void => {
      message = problem;
      this.#obstacle = { code: 'timed_out', message };
    };
    this.#obstacle = { code: 'timed_out', message };
    try {
      return await withDeadline(clock, lookAgainMs, 'waiting for a mount', within, (signal) =>
        client.waitUntilMounted(datasetId, nodeId, onProblem, signal),
      );
    } catch (error) {
      within.throwIfAborted();
      if (error instanceof DeadlineExceeded) return { code: 'timed_out', message, waited: true };
      throw error;
    }
  }

  async #mounted(
    datasetId: DatasetId,
    nodeId: NodeId,
    early: Promise<MountedDataset | Obstacle> | undefined,
  ): Promise<MountedDataset | Obstacle> {
    const { leases, mounts, confirmMounted } = this.#world;
    const term = leases.term(datasetId);
    const found = await (early ?? this.#look(datasetId, nodeId, this.#stop.signal));
    if ('code' in found) return found;
    if (!(await confirmMounted(datasetId, found.path, this.#stop.signal))) {
      mounts.delete(datasetId);
      const message = `the control service reports it at ${found.path}, where nothing is mounted`;
      return { code: 'timed_out', message };
    }
    if (term !== undefined) mounts.set(datasetId, { term, mounted: found });
    return found;
  }

  #finish(datasetId: DatasetId, mounted: MountedDataset, created: boolean, notes: string[]): AcquiredVolume {
    this.#stop.signal.throwIfAborted();
    const { ledger, logger, lastSeen } = this.#world;
    const holding = ledger.get(this.holder.id, this.spec.name);
    if (holding === undefined || holding.state === 'releasing')
      throw new VolumeError(
        'released',
        `volume ${this.spec.name}: ${this.holder.id} was released while it was acquired`,
      );
    this.#finished = true;
    lastSeen.remember(this.spec.name, datasetId);
    const { path, sizeBytes } = mounted;
    if (holding.state === 'intent') {
      // Not waited for: an intent on disk already keeps the volume here through a restart.
      void ledger.put({ ...holding, state: 'held', path, sizeBytes: sizeBytes ?? null }).catch((error: unknown) => {
        logger.warn({ volume: this.spec.name, error: errorText(error) }, 'could not note that a volume is held');
      });
    }
    return { path, datasetId, sizeBytes, created, notes };
  }

  /**
   * A change that the server may have begun is not cut off when the caller gives up: what was done has to be known before
   * it is undone.
   */
  #uninterrupted<T>(what: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return withDeadline(this.#world.clock, this.#world.requestTimeoutMs, what, undefined, work);
  }
}
