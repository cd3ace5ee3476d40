import { statfs } from 'node:fs/promises';
import { errorText } from '../../kit/coded-error.ts';
import { plainPath } from '../../kit/mount-target.ts';
import { parseSizeBytes, roundUp } from '../../kit/sizes.ts';
import { SIZE_STEP_BYTES } from '../../model/dataset.ts';
import { checkName, type VolumeSpec } from '../../volumes/volume-spec.ts';
import { required } from './arguments.ts';
import { type Access, accessProblem, type Filesystem, type Use, useOf } from './capabilities.ts';
import { CsiError } from './csi-error.ts';
import { type BlockMounts, CSI_PREFIX, type CsiWorld } from './csi-world.ts';
import { findVolume } from './find-volume.ts';
import type { NodeStageVolumeRequest, NodeUnstageVolumeRequest } from './generated/csi_pb.ts';
import { accessOf, type Stage, type Stages, textOf } from './stages.ts';
import { parseParameters } from './volume-wish.ts';

/** What statfs(2) calls the filesystems that a caller may ask for. */
const MAGIC: ReadonlyMap<number, Filesystem> = new Map([
  [0xef53, 'ext4'],
  [0x58465342, 'xfs'],
]);
/** After this the release goes on by itself. */
const RELEASE_TIMEOUT_MS = 10_000;

/**
 * Brings a volume to this node and holds it there until it is unstaged. Nothing is mounted at the staging path: the volume
 * is at the node agent's own place, and each target is a bind mount of that.
 */
export async function stageVolume(
  world: CsiWorld,
  stages: Stages,
  request: NodeStageVolumeRequest,
  signal: AbortSignal,
): Promise<void> {
  const volumeId = required(request.volumeId, 'volume_id');
  const staging = plainPath(required(request.stagingTargetPath, 'staging_target_path'));
  const use = useOf(request.volumeCapability, volumeId);
  const wanted = await lookUp(world, stages, volumeId, request.volumeContext, use, signal);
  const { name } = wanted.spec;
  await stages.serially(name, signal, async () => {
    const present = stages.find(name);
    // The name's holder is that volume's still: its caller unstages it by the id that it knows.
    if (present !== undefined && wanted.datasetId !== undefined && present.datasetId !== wanted.datasetId)
      throw new CsiError(
        'FAILED_PRECONDITION',
        `volume ${volumeId}: ${present.datasetId}, which had the name ${name} before, is still staged on this node; unstage it first`,
      );
    // Its lease is ours: nothing has to be asked, so that a repeated call works while the control service is away.
    if (present !== undefined && world.volumes.heldPath(name) !== undefined) {
      requireAccess(accessOf(present), use.access, volumeId);
      await requireFilesystem(present.path, volumeId, use.filesystem);
      if (!present.stagings.includes(staging)) await stages.keep(present, { stagings: [...present.stagings, staging] });
      return;
    }
    const holder = { id: `${CSI_PREFIX}${name}`, detail: 'CSI NodeStageVolume' };
    await world.holders.acquire(holder, wanted.spec, signal, async ({ datasetId, path }) => {
      if (wanted.datasetId !== undefined && datasetId !== wanted.datasetId)
        throw new CsiError(
          'NOT_FOUND',
          `there is no volume ${volumeId}: the name ${name} belongs to ${datasetId} by now`,
        );
      await requireFilesystem(path, volumeId, use.filesystem);
      const { blockBytes } = wanted;
      if (blockBytes !== undefined) await requireBlocks(world, volumeId).prepare(path, blockBytes);
      const { stagings = [], targets = [] } = present ?? {};
      return textOf({ stagings: [...new Set([...stagings, staging])], targets, ...optionalBlock(blockBytes) });
    });
  });
}

/** Lets go of a volume; one that is not staged there is fine. Fails with `FAILED_PRECONDITION` while a target shows it. */
export async function unstageVolume(
  world: CsiWorld,
  stages: Stages,
  request: NodeUnstageVolumeRequest,
  signal: AbortSignal,
): Promise<void> {
  const volumeId = required(request.volumeId, 'volume_id');
  const staging = plainPath(required(request.stagingTargetPath, 'staging_target_path'));
  const name = stages.find(volumeId)?.name ?? volumeId;
  await stages.serially(name, signal, async () => {
    const stage = stages.find(name);
    if (stage === undefined || !stage.stagings.includes(staging)) return;
    const stagings = stage.stagings.filter((one) => one !== staging);
    if (stagings.length > 0) {
      await stages.keep(stage, { stagings });
      return;
    }
    const shown = await mountedTargets(world, stage);
    if (shown.length > 0)
      throw new CsiError('FAILED_PRECONDITION', `volume ${volumeId} is still published at ${shown.join(', ')}`);
    if (accessOf(stage) === 'block') await detachAll(world, stage, signal);
    const through = await world.holders.release(`${CSI_PREFIX}${name}`, RELEASE_TIMEOUT_MS);
    if (!through) world.logger.warn({ volume: name }, 'a volume is unstaged, and giving up its lease goes on');
  });
}

async function mountedTargets({ mounts }: CsiWorld, { targets }: Stage): Promise<string[]> {
  const shown: string[] = [];
  for (const { path } of targets) if ((await mounts?.isMounted(path)) === true) shown.push(path);
  return shown;
}

/** While a device has the file, the volume cannot leave this node, so it is not let go before that. */
async function detachAll(world: CsiWorld, { name, path }: Stage, signal: AbortSignal): Promise<void> {
  const open = await requireBlocks(world, name).detach(path, new Set(), signal);
  if (open.length > 0)
    throw new CsiError(
      'FAILED_PRECONDITION',
      `volume ${name}: something on this node still has ${open.join(' and ')} open; end that first`,
    );
}

/** What block volumes need; fails with `FAILED_PRECONDITION` without. */
export function requireBlocks({ blocks }: CsiWorld, volumeId: string): BlockMounts {
  if (blocks !== undefined) return blocks;
  throw new CsiError('FAILED_PRECONDITION', `volume ${volumeId}: the node agent has to run as root for block volumes`);
}

/** Fails with `FAILED_PRECONDITION` when a volume is not of the kind that is asked for. */
export function requireAccess(present: Access, wanted: Access, volumeId: string): void {
  const problem = accessProblem(present, wanted);
  if (problem !== undefined) throw new CsiError('FAILED_PRECONDITION', `volume ${volumeId}: ${problem}`);
}

interface Wanted {
  readonly spec: VolumeSpec;
  /** Undefined when the volume is to be made, or any of the name will do. */
  readonly datasetId: Stage['datasetId'] | undefined;
  /** Size of a block volume. */
  readonly blockBytes: number | undefined;
}

/**
 * Callers that know no controller, as Mesos, name volumes by id or by name, and may have one made: their context says so.
 * Fails with `NOT_FOUND`.
 */
async function lookUp(
  world: CsiWorld,
  stages: Stages,
  volumeId: string,
  context: Readonly<Record<string, string>>,
  { access, filesystem }: Use,
  signal: AbortSignal,
): Promise<Wanted> {
  const { create, sizeBytes, ...options } = parseContext(context, volumeId);
  const staged = stages.find(volumeId);
  if (staged !== undefined && world.volumes.heldPath(staged.name) !== undefined)
    return {
      spec: { name: staged.name, create: 'never', mode: 'rw' },
      datasetId: staged.datasetId,
      blockBytes: staged.blockBytes,
    };
  const found = await findVolume(world, volumeId, signal);
  if (found?.name === undefined && found !== undefined)
    throw new CsiError(
      'FAILED_PRECONDITION',
      `volume ${volumeId} has no name in its metadata, and holders are known by names; make volumes with a name`,
    );
  if (found?.name !== undefined) {
    requireAccess(found.access, access, volumeId);
    const blockBytes = access === 'block' ? found.sizeBytes : undefined;
    return { spec: { name: found.name, create: 'never', mode: 'rw' }, datasetId: found.id, blockBytes };
  }
  if (create === 'never')
    throw new CsiError(
      'NOT_FOUND',
      `there is no volume ${volumeId}; create=auto in its volume context would have one of this name made`,
    );
  if (access === 'block')
    throw new CsiError(
      'INVALID_ARGUMENT',
      `volume ${volumeId}: create=auto makes volumes with a filesystem; make a block volume with CreateVolume`,
    );
  try {
    checkName(volumeId);
  } catch (error) {
    throw new CsiError('INVALID_ARGUMENT', errorText(error), { cause: error });
  }
  const wish = {
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
    ...(options.profile === undefined ? {} : { profile: options.profile }),
    ...optionalFilesystem(options.filesystem ?? filesystem),
  };
  return { spec: { name: volumeId, create: 'auto', mode: 'rw', ...wish }, datasetId: undefined, blockBytes: undefined };
}

interface Context {
  readonly create: 'auto' | 'never';
  readonly sizeBytes: number | undefined;
  readonly profile: string | undefined;
  readonly filesystem: Filesystem | undefined;
}

/** Fails with `INVALID_ARGUMENT` for what is not known, except keys of other software, which have a slash. */
function parseContext(context: Readonly<Record<string, string>>, volumeId: string): Context {
  const refuse = (problem: string): never => {
    throw new CsiError('INVALID_ARGUMENT', `volume ${volumeId}: ${problem}`);
  };
  if (context['csi.storage.k8s.io/ephemeral'] === 'true')
    refuse('volumes that live as long as a pod are not served; use a generic ephemeral volume');
  const { create = 'never', size, ...rest } = context;
  if (create !== 'auto' && create !== 'never') refuse(`create in the volume context is auto or never, not ${create}`);
  const sizeBytes = size === undefined ? undefined : parseSizeBytes(size);
  if (size !== undefined && sizeBytes === undefined)
    refuse(`${size} in the volume context is no size; write bytes, or a unit as in 10GiB`);
  const ours = Object.fromEntries(Object.entries(rest).filter(([key]) => !key.includes('/')));
  return {
    create: create === 'auto' ? 'auto' : 'never',
    sizeBytes: sizeBytes === undefined ? undefined : roundUp(sizeBytes, SIZE_STEP_BYTES),
    ...parseParameters(ours, volumeId),
  };
}

async function requireFilesystem(path: string, volumeId: string, wanted: Filesystem | undefined): Promise<void> {
  if (wanted === undefined) return;
  const present = MAGIC.get((await statfs(path)).type) ?? 'another filesystem';
  if (present !== wanted)
    throw new CsiError('FAILED_PRECONDITION', `volume ${volumeId} has ${present}, and ${wanted} was asked for`);
}

function optionalBlock(blockBytes: number | undefined): { blockBytes?: number } {
  return blockBytes === undefined ? {} : { blockBytes };
}

function optionalFilesystem(filesystem: Filesystem | undefined): { filesystem?: Filesystem } {
  return filesystem === undefined ? {} : { filesystem };
}
