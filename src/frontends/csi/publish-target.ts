import { errorCode, errorText } from '../../kit/coded-error.ts';
import { plainPath, targetProblem } from '../../kit/mount-target.ts';
import { required } from './arguments.ts';
import { useOf } from './capabilities.ts';
import { CsiError } from './csi-error.ts';
import type { BindMounts, CsiWorld, DeviceKind } from './csi-world.ts';
import type { NodePublishVolumeRequest, NodeUnpublishVolumeRequest } from './generated/csi_pb.ts';
import { READ_ONLY_CONTEXT } from './publish-volume.ts';
import { requireAccess, requireBlocks } from './stage-volume.ts';
import { accessOf, type Stages, type Target } from './stages.ts';

/** Flags that say how a mount is anyway, or are told by {@link Target.readOnly}. */
const NOT_SET: ReadonlySet<string> = new Set(['ro', 'rw', 'defaults']);

/** Shows a staged volume at a target. The target is on disk before anything is done there. */
export async function publishTarget(
  world: CsiWorld,
  stages: Stages,
  request: NodePublishVolumeRequest,
  signal: AbortSignal,
): Promise<void> {
  const volumeId = required(request.volumeId, 'volume_id');
  const path = targetIn(request.targetPath, volumeId);
  const use = useOf(request.volumeCapability, volumeId);
  const staged = stages.find(volumeId);
  const staging = request.stagingTargetPath;
  if (staging === '')
    throw new CsiError(
      'FAILED_PRECONDITION',
      `volume ${volumeId}: the request has no staging_target_path; stage it first`,
    );
  const mounts = requireMounts(world, volumeId);
  const readOnly = request.readonly || use.readOnly || request.publishContext[READ_ONLY_CONTEXT] === 'true';
  const flags = use.mountFlags.filter((flag) => !NOT_SET.has(flag)).sort();
  const target: Target = { path, readOnly, flags };
  await stages.serially(staged?.name ?? volumeId, signal, async () => {
    const stage = stages.find(volumeId);
    if (stage === undefined || !stage.stagings.includes(plainPath(staging)))
      throw new CsiError(
        'FAILED_PRECONDITION',
        `volume ${volumeId} is not staged at ${staging} on this node; stage it first`,
      );
    requireAccess(accessOf(stage), use.access, volumeId);
    const owner = stages.owner(path);
    if (owner !== undefined && owner !== stage.name)
      throw new CsiError('ALREADY_EXISTS', `volume ${owner} is published at ${path}, and not ${volumeId}`);
    const present = stage.targets.find((one) => one.path === path);
    if (present !== undefined && !same(present, target))
      throw new CsiError(
        'ALREADY_EXISTS',
        `volume ${volumeId} is published at ${path} ${present.readOnly ? 'read-only' : 'writable'}` +
          `${present.flags.length === 0 ? '' : ` with ${present.flags.join(', ')}`}; unpublish it first to change that`,
      );
    if (present === undefined) await stages.keep(stage, { targets: [...stage.targets, target] });
    const show =
      use.access === 'block'
        ? requireBlocks(world, volumeId).show(stage.path, path, readOnly)
        : mounts.bind(stage.path, path, new Set([...flags, ...(readOnly ? ['ro'] : [])]));
    await show.catch((error: unknown) => {
      throw mountError(volumeId, path, error);
    });
  });
}

/** Ends what a target shows and removes it. A target that is not there is fine. */
export async function unpublishTarget(
  world: CsiWorld,
  stages: Stages,
  request: NodeUnpublishVolumeRequest,
  signal: AbortSignal,
): Promise<void> {
  const volumeId = required(request.volumeId, 'volume_id');
  const path = targetIn(request.targetPath, volumeId);
  const mounts = requireMounts(world, volumeId);
  await stages.serially(stages.find(volumeId)?.name ?? volumeId, signal, async () => {
    const stage = stages.find(volumeId);
    const isOurs = stage?.targets.some((one) => one.path === path) === true;
    if (!isOurs) {
      // Left by a time before the machine booted, or never made. What somebody else has mounted there is not ours to end.
      if (await mounts.isMounted(path))
        throw new CsiError(
          'FAILED_PRECONDITION',
          `what is mounted at ${path} is not volume ${volumeId}; it is left alone`,
        );
    }
    const isBlock = stage !== undefined && accessOf(stage) === 'block';
    const hide = async (): Promise<void> => {
      if (isBlock || !isOurs) await world.blocks?.hide(path);
      if (!isBlock) await mounts.unbind(path);
    };
    await hide().catch((error: unknown) => {
      throw mountError(volumeId, path, error);
    });
    const rest = stage?.targets.filter((one) => one.path !== path) ?? [];
    if (isBlock) {
      const kept = new Set(rest.map((one): DeviceKind => (one.readOnly ? 'readOnly' : 'writable')));
      // One that somebody has opened by another path goes with its last close; unstaging waits for that.
      await requireBlocks(world, volumeId).detach(stage.path, kept, signal);
    }
    if (stage !== undefined && isOurs) await stages.keep(stage, { targets: rest });
  });
}

function same(one: Target, other: Target): boolean {
  return one.readOnly === other.readOnly && one.flags.join() === other.flags.join();
}

function targetIn(text: string, volumeId: string): string {
  const path = required(text, 'target_path');
  const problem = targetProblem(path);
  if (problem !== undefined)
    throw new CsiError('INVALID_ARGUMENT', `volume ${volumeId}: target path ${JSON.stringify(path)} ${problem}`);
  return plainPath(path);
}

function requireMounts({ mounts }: CsiWorld, volumeId: string): BindMounts {
  if (mounts !== undefined) return mounts;
  throw new CsiError(
    'FAILED_PRECONDITION',
    `volume ${volumeId}: the node agent has to run as root to mount at the target of a caller`,
  );
}

function mountError(volumeId: string, path: string, error: unknown): CsiError {
  const code = errorCode(error);
  const text = `volume ${volumeId} at ${path}: ${errorText(error)}`;
  if (code === 'bad_target' || code === 'no_parent') return new CsiError('INVALID_ARGUMENT', text, { cause: error });
  if (code === 'EBUSY')
    return new CsiError('FAILED_PRECONDITION', `${text}: something on this node still uses it`, { cause: error });
  return new CsiError('INTERNAL', text, { cause: error });
}
