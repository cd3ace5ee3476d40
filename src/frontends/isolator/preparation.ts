import { errorText } from '../../kit/coded-error.ts';
import { orAbort } from '../../kit/deadline.ts';
import { isWithin } from '../../kit/mount-target.ts';
import { VolumeError } from '../../volumes/volume-error.ts';
import type { AcquiredVolume, Holder } from '../../volumes/volume-spec.ts';
import type { Volumes } from '../../volumes/volumes.ts';
import type { ContainerNote } from './container-note.ts';
import { IsolatorError } from './isolator-error.ts';
import type { LaunchInfo } from './isolator-schemas.ts';
import { type MountPlace, makePlace, planPlace, type Surroundings } from './mount-place.ts';
import { judge, type OperatorRule, type Requester, type Verdict } from './operator-rules.ts';
import { specOf } from './task-volumes.ts';
import { type FindUser, settleOwner } from './volume-owner.ts';
import type { VolumeRequest } from './volume-request.ts';

/** From `<sched.h>` and `<linux/mount.h>`: what Mesos's launch helper hands on to clone(2) and mount(2). */
const CLONE_NEWNS = 0x20000;
const MS_RDONLY = 1;
const MS_BIND = 4096;
const MS_REC = 16384;

export interface PreparationWorld {
  readonly volumes: Volumes;
  readonly rules: readonly OperatorRule[] | undefined;
  readonly knownProfiles: (() => readonly string[]) | undefined;
  readonly findUser: FindUser;
  readonly bootId: string;
}

/** A container that wants volumes. */
export interface Applicant {
  readonly holder: Holder;
  readonly requester: Requester;
  readonly requests: readonly VolumeRequest[];
  readonly surroundings: Surroundings;
}

interface Planned {
  readonly request: VolumeRequest;
  readonly verdict: Verdict;
  readonly place: MountPlace;
}

/** Decides about everything that can be decided without changing anything. Fails with the first thing that is wrong. */
export async function planVolumes(applicant: Applicant, world: PreparationWorld): Promise<Planned[]> {
  const planned: Planned[] = [];
  for (const request of applicant.requests) {
    const verdict = judge(world.rules, applicant.requester, request);
    const place = await explained(request, () =>
      planPlace(request.containerPath, applicant.surroundings, request.mayMakeInTmp),
    );
    for (const { request: other, place: taken } of planned) {
      if (!isWithin(place.seenAt, taken.seenAt) && !isWithin(taken.seenAt, place.seenAt)) continue;
      const paths = `${request.containerPath} of volume ${request.name} and ${other.containerPath} of volume ${other.name}`;
      throw new IsolatorError(
        'bad_path',
        `container paths ${paths} are the same or one inside the other; separate them`,
      );
    }
    planned.push({ request, verdict, place });
  }
  return planned;
}

/**
 * Acquires all volumes, gives new ones to the task's user, makes the mount points. What was taken when it fails is the
 * caller's to give back.
 */
export async function prepareVolumes(
  applicant: Applicant,
  planned: readonly Planned[],
  world: PreparationWorld,
  signal: AbortSignal,
): Promise<LaunchInfo> {
  const note: ContainerNote = {
    kind: 'mesos-container',
    bootId: world.bootId,
    deleteOnExit: planned.filter(({ request }) => request.onExit === 'delete').map(({ request }) => request.name),
    places: planned.map(({ place }) => ({ root: place.root, missing: place.missing.map((names) => [...names]) })),
  };
  // On disk before anything is taken or made, so that whatever is interrupted can be cleaned up.
  const holder: Holder = { ...applicant.holder, note: JSON.stringify(note) };
  const acquired = await acquireAll(holder, planned, world, signal);
  const { requester, surroundings } = applicant;
  const task = { user: requester.user, sandbox: surroundings.directory };
  const settling = acquired.map(({ volume: { path, created } }) =>
    settleOwner(path, { ...task, createdVolume: created }, world.findUser),
  );
  await orAbort(Promise.all(settling), signal);
  for (const { request, place } of planned) await explained(request, async () => makePlace(place));
  signal.throwIfAborted();
  return {
    clone_namespaces: [CLONE_NEWNS],
    mounts: acquired.map(({ request, place, volume }) => ({
      source: volume.path,
      target: place.target,
      flags: MS_BIND | MS_REC | (request.mode === 'ro' ? MS_RDONLY : 0),
    })),
  };
}

type Acquired = Planned & { readonly volume: AcquiredVolume };

/** All at once; when one fails the others are given up, and it is waited for them so that nothing comes late. */
async function acquireAll(
  holder: Holder,
  planned: readonly Planned[],
  world: PreparationWorld,
  signal: AbortSignal,
): Promise<Acquired[]> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  let first: unknown;
  const outcomes = await Promise.all(
    planned.map(async (one): Promise<Acquired | undefined> => {
      try {
        return { ...one, volume: await acquire(holder, one, world, either) };
      } catch (error) {
        first ??= error;
        failed.abort(error);
        return undefined;
      }
    }),
  );
  const acquired = outcomes.flatMap((one) => one ?? []);
  if (acquired.length < planned.length) throw first;
  return acquired;
}

async function acquire(
  holder: Holder,
  { request, verdict }: Planned,
  { volumes, knownProfiles }: PreparationWorld,
  signal: AbortSignal,
): Promise<AcquiredVolume> {
  const spec = specOf(request, knownProfiles?.());
  const { whyNotCreate } = verdict;
  if (whyNotCreate === undefined) return volumes.acquire(holder, spec, signal);
  try {
    return await volumes.acquire(holder, { ...spec, create: 'never' }, signal);
  } catch (error) {
    if (!(error instanceof VolumeError) || error.code !== 'volume_not_found' || request.create === 'never') throw error;
    throw new IsolatorError('not_allowed', `there is no volume ${request.name}, and ${whyNotCreate}`, { cause: error });
  }
}

async function explained<T>(request: VolumeRequest, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const where = `volume ${request.name}: container path ${JSON.stringify(request.containerPath)}`;
    const isOurs = error instanceof IsolatorError && error.code === 'bad_path';
    const text = isOurs ? error.message : `cannot be prepared: ${errorText(error)}`;
    throw new IsolatorError('bad_path', `${where} ${text}`, { cause: error });
  }
}
