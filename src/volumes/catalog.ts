import { ClientError, type FoundDatasets } from '../client/flocker-client.ts';
import { mountsAmong } from '../client/judgements.ts';
import { backoffMs } from '../kit/backoff.ts';
import { pause } from '../kit/clock.ts';
import { DeadlineExceeded, withDeadline } from '../kit/deadline.ts';
import { type DatasetId, type NodeId, newDatasetId, parseDatasetId } from '../kit/ids.ts';
import type { KeyedQueue } from '../kit/keyed-queue.ts';
import { nameOf, PROFILE_KEY } from '../model/dataset.ts';
import { obstacleOf } from './obstacle.ts';
import { deleteVolume, removeVolume } from './remove-volume.ts';
import { metadataFor, notesOn } from './spec-notes.ts';
import { VolumeError } from './volume-error.ts';
import { checkName, checkProfile, checkSpec, type VolumeSpec } from './volume-spec.ts';
import type { VolumesWorld } from './volumes-world.ts';

/** A volume of the cluster, whoever uses it. */
export interface KnownVolume {
  readonly name: string;
  readonly datasetId: DatasetId;
  /** Where it is mounted on this node; null when it is not, or is about to leave. */
  readonly path: string | null;
  /** Size that was asked for, bytes; undefined when none was. */
  readonly sizeBytes: number | undefined;
  readonly profile: string | undefined;
}

type Dataset = FoundDatasets['datasets'][number];
type Mounted = FoundDatasets['mounted'];

const BACKOFF = { firstMs: 50, factor: 2, longestMs: 2_000 };

/** The cluster's volumes by name, without a holder: to look at, to make and to delete. Fails with a {@link VolumeError}. */
export class Catalog {
  readonly #world: VolumesWorld;
  readonly #queue: KeyedQueue<string>;

  constructor(world: VolumesWorld, queue: KeyedQueue<string>) {
    this.#world = world;
    this.#queue = queue;
  }

  /** Fails with `volume_not_found` when there is none of this name. */
  async get(name: string, signal: AbortSignal): Promise<KnownVolume> {
    checkName(name);
    const nodeId = await this.#world.nodeId();
    const { client } = this.#world;
    const { dataset, mounted } = await this.#asked(name, signal, async (soon) => {
      const found = await client.findByName(name, soon);
      const one = theOnly(name, found.datasets);
      const known = one === undefined || (await client.hasAdditions(soon)) ? found.mounted : await this.#polled(soon);
      return { dataset: one, mounted: known };
    });
    if (dataset === undefined) throw new VolumeError('volume_not_found', `there is no volume ${name}`);
    return knownVolume(dataset, name, mounted, nodeId);
  }

  /** All volumes that have a name, in order of their names. */
  async list(signal: AbortSignal): Promise<KnownVolume[]> {
    const { client } = this.#world;
    const nodeId = await this.#world.nodeId();
    const { datasets, mounted } = await this.#asked('list', signal, async (soon) => {
      const inspections = await client.inspectDatasets(soon);
      if (inspections === undefined)
        return { datasets: (await client.listDatasets(soon)).datasets, mounted: await this.#polled(soon) };
      return {
        datasets: inspections.map(({ configuration }) => configuration),
        mounted: mountsAmong(inspections),
      };
    });
    return datasets
      .flatMap((dataset) => {
        const name = dataset.deleted ? undefined : nameOf(dataset.metadata);
        return name === undefined ? [] : [knownVolume(dataset, name, mounted, nodeId)];
      })
      .sort((a, b) => (a.name < b.name ? -1 : Number(a.name > b.name)));
  }

  /**
   * Makes a volume for this node unless there is one of this name, which is fine too; does not wait until it is mounted.
   * Resolves with notes on where an existing one differs from the spec.
   */
  async create(spec: VolumeSpec, signal: AbortSignal): Promise<readonly string[]> {
    checkSpec(spec);
    const { client, clock, newUuid, nodeId, patienceMs, random } = this.#world;
    // One id for all tries: an answer that gets lost leaves no second volume.
    const offered = newDatasetId(newUuid);
    const startedMs = clock.monotonicMs();
    for (let attempt = 0; ; attempt += 1) {
      const outcome = await this.#tried(spec.name, signal, async (soon) => {
        const { datasets, ifUnchanged } = await client.findByName(spec.name, soon);
        const present = theOnly(spec.name, datasets);
        if (present !== undefined) return present.dataset_id === offered ? [] : notesOn(spec, present);
        checkProfile(spec);
        const wanted = {
          primary: await nodeId(),
          datasetId: offered,
          metadata: metadataFor(spec),
          ...(spec.sizeBytes === undefined ? {} : { maximumSizeBytes: spec.sizeBytes }),
        };
        await client.createDataset(wanted, ifUnchanged, soon);
        return [];
      });
      if (!(outcome instanceof VolumeError)) return outcome;
      if (clock.monotonicMs() - startedMs > patienceMs) throw outcome;
      await pause(clock, backoffMs(BACKOFF, attempt, random), signal).catch(() => {
        throw outcome;
      });
    }
  }

  /**
   * Deletes a volume and resolves once its storage is gone, or, when the signal aborts after the deletion is durable, with
   * words on what is left to do: the cluster goes on with it. Fails with `in_use` or `leased_elsewhere` while anybody uses it.
   */
  async remove(name: string, signal: AbortSignal): Promise<string | undefined> {
    const { datasetId } = await this.get(name, signal);
    return removeVolume(this.#world, this.#queue, { name, datasetId }, signal);
  }

  /** Deletes the very volume that is meant, whatever its name means by now, and does not wait for its storage to go. */
  delete(volume: { readonly name: string; readonly datasetId: DatasetId }, signal: AbortSignal): Promise<void> {
    return deleteVolume(this.#world, this.#queue, volume, signal);
  }

  /** Mounts of a server that only tells states. */
  async #polled(signal: AbortSignal): Promise<Mounted> {
    const states = await this.#world.client.listDatasetStates(signal);
    return new Map(
      states.flatMap(({ dataset_id, path, primary, maximum_size: sizeBytes }) =>
        path === undefined || primary === undefined
          ? []
          : [[dataset_id, { path, primary: primary.toLowerCase(), sizeBytes }] as const],
      ),
    );
  }

  async #asked<T>(name: string, signal: AbortSignal, work: (soon: AbortSignal) => Promise<T>): Promise<T> {
    const outcome = await this.#tried(name, signal, work);
    if (outcome instanceof VolumeError) throw outcome;
    return outcome;
  }

  /** The outcome, or a VolumeError when trying again may help; throws when it cannot. */
  async #tried<T>(
    name: string,
    signal: AbortSignal,
    work: (soon: AbortSignal) => Promise<T>,
  ): Promise<T | VolumeError> {
    const { clock, requestTimeoutMs } = this.#world;
    try {
      return await withDeadline(clock, requestTimeoutMs, 'the request', signal, work);
    } catch (error) {
      if (signal.aborted && !(signal.reason instanceof DeadlineExceeded))
        throw new VolumeError('cancelled', `volume ${name}: given up`, { cause: error });
      const { code, message } = obstacleOf(name, error);
      const told = error instanceof ClientError ? message : `no answer from the Flocker control service: ${message}`;
      return new VolumeError(code, `volume ${name}: ${told}`, { cause: error });
    }
  }
}

function theOnly(name: string, datasets: readonly Dataset[]): Dataset | undefined {
  if (datasets.length <= 1) return datasets[0];
  const ids = datasets.map((dataset) => dataset.dataset_id).join(', ');
  throw new VolumeError(
    'ambiguous_name',
    `volume ${name}: several datasets have this name: ${ids}. Delete all but one: which of them is meant cannot be guessed`,
  );
}

function knownVolume(dataset: Dataset, name: string, mounted: Mounted, nodeId: NodeId): KnownVolume {
  const datasetId = parseDatasetId(dataset.dataset_id);
  if (datasetId === undefined)
    throw new VolumeError('refused', `volume ${name} has the id ${dataset.dataset_id}, which is no UUIDv4`);
  const mount = mounted.get(dataset.dataset_id);
  return {
    name,
    datasetId,
    path: mount?.primary === nodeId ? mount.path : null,
    sizeBytes: dataset.maximum_size,
    profile: dataset.metadata[PROFILE_KEY],
  };
}
