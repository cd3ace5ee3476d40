import { isWithin, plainPath, targetProblem } from '../../kit/mount-target.ts';
import { parseSizeBytes } from '../../kit/sizes.ts';
import { checkSpec, type VolumeSpec } from '../../volumes/volume-spec.ts';
import { LocalError } from './local-error.ts';

/** One `-v` of `flocker run`: a volume and where the command sees it. */
export interface VolumeArgument {
  readonly spec: VolumeSpec;
  readonly target: string;
}

const OPTIONS = 'ro, rw, size=1GiB, profile=gold, fs=ext4, fs=xfs, create=auto, create=never';

type Options = { -readonly [Key in keyof VolumeSpec]: VolumeSpec[Key] };

/**
 * Parses `NAME:/path[:ro|:rw][,size=1GiB][,profile=gold][,fs=xfs][,create=never]`. Fails with `bad_request`, or with the
 * code of what is wrong with the name, the size or the path.
 */
export function parseVolumeArgument(text: string): VolumeArgument {
  const [head = '', ...options] = text.split(',');
  const [name = '', path, mode, ...rest] = head.split(':');
  if (path === undefined || rest.length > 0) throw refused(text, 'is not like NAME:/path or NAME:/path:ro');
  const wish: Options = { name, create: 'auto', mode: 'rw' };
  const seen = new Set<string>();
  for (const option of mode === undefined ? options : [mode, ...options]) {
    const key = applyOption(wish, option, text);
    if (seen.has(key)) throw refused(text, `gives ${key} twice`);
    seen.add(key);
  }
  checkSpec(wish);
  const problem = targetProblem(path);
  if (problem !== undefined) throw new LocalError('bad_target', `volume ${name}: ${JSON.stringify(path)} ${problem}`);
  return { spec: wish, target: plainPath(path) };
}

/** Parses all `-v` of a command and refuses mount points that are the same or one inside the other. */
export function parseVolumeArguments(texts: readonly string[]): VolumeArgument[] {
  const volumes = texts.map(parseVolumeArgument);
  checkTargets(volumes.map((volume) => volume.target));
  return volumes;
}

/** Fails with `bad_target` when two mount points are the same or one is inside the other: one would hide the other. */
export function checkTargets(targets: readonly string[]): void {
  for (const [index, one] of targets.entries()) {
    for (const other of targets.slice(index + 1)) {
      if (one === other) throw new LocalError('bad_target', `two volumes cannot both be mounted at ${one}`);
      const inside = isWithin(one, other) ? [one, other] : isWithin(other, one) ? [other, one] : undefined;
      if (inside !== undefined) throw new LocalError('bad_target', `mount point ${inside[0]} is inside ${inside[1]}`);
    }
  }
}

/** Applies one option and returns what it is about. */
function applyOption(wish: Options, option: string, text: string): string {
  if (option === 'ro' || option === 'rw') {
    wish.mode = option;
    return 'the mode';
  }
  const [key = '', ...values] = option.split('=');
  const value = values.join('=');
  if (key === 'size') {
    const sizeBytes = parseSizeBytes(value);
    if (sizeBytes === undefined)
      throw refused(text, `has no readable size in "${option}"; write it as 512MiB or 10GiB`);
    wish.sizeBytes = sizeBytes;
  } else if (key === 'profile') {
    wish.profile = value;
  } else if (key === 'fs' && (value === 'ext4' || value === 'xfs')) {
    wish.filesystem = value;
  } else if (key === 'create' && (value === 'auto' || value === 'never')) {
    wish.create = value;
  } else {
    throw refused(text, `has "${option}", which is none of: ${OPTIONS}`);
  }
  return key;
}

function refused(text: string, problem: string): LocalError {
  return new LocalError('bad_request', `volume ${JSON.stringify(text)} ${problem}`);
}
