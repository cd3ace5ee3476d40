import { type BackendSettings, BackendSettingsError } from '../backend-settings.ts';
import { STATED_KEYS } from '../statements.ts';
import type { PoolStorage } from './pool-storage.ts';

const COMPRESSIONS = ['none', 'lzo', 'zstd'] as const;
export type Compression = (typeof COMPRESSIONS)[number];

export interface BtrfsProfile {
  readonly compression: Compression;
}

/** What the `dataset` section says that only this backend knows. */
export interface BtrfsSettings {
  readonly storage: PoolStorage;
  readonly quota: 'full' | 'simple' | 'none';
  /** Of volumes without a profile. */
  readonly defaultCompression: Compression;
  readonly profiles: Readonly<Record<string, BtrfsProfile>>;
}

const DEFAULT_MOUNT = '/var/lib/flocker/btrfs';
/** From quick to small, when the operator names no profiles. */
const DEFAULT_PROFILES: Readonly<Record<string, BtrfsProfile>> = {
  gold: { compression: 'none' },
  silver: { compression: 'lzo' },
  bronze: { compression: 'zstd' },
};

/** Reads them. Fails with a {@link BackendSettingsError} that names the key at fault. */
export function readBtrfsSettings(settings: BackendSettings): BtrfsSettings {
  const defaultCompression = readCompression(settings) ?? 'none';
  const sections = settings.sections('profiles');
  const profiles = [...(sections ?? [])].map(([name, profile]) => {
    profile.requireOnly(STATED_KEYS);
    return [name, { compression: readCompression(profile) ?? defaultCompression }] as const;
  });
  return {
    storage: readStorage(settings),
    quota: settings.choice('quota', ['full', 'simple', 'none']) ?? 'full',
    defaultCompression,
    profiles: sections === undefined ? DEFAULT_PROFILES : Object.fromEntries(profiles),
  };
}

function readStorage(settings: BackendSettings): PoolStorage {
  const rootPath = settings.path('root_path');
  const devicePath = settings.path('device');
  const filePath = settings.path('pool_file');
  if ([rootPath, devicePath, filePath].filter((path) => path !== undefined).length !== 1) {
    throw new BackendSettingsError(
      'the btrfs backend needs exactly one of dataset.root_path (a directory on btrfs), dataset.device and dataset.pool_file',
    );
  }
  const zstdLevel = settings.integer('zstd_level', 1, 15) ?? null;
  const mountPoint = settings.path('pool_mount') ?? DEFAULT_MOUNT;
  const sizeBytes = settings.sizeBytes('pool_size') ?? null;
  const makeFilesystem = settings.flag('make_filesystem');
  const refuse = (key: string, given: boolean, advice: string): void => {
    if (given) throw new BackendSettingsError(`dataset.${key} ${advice}`);
  };
  refuse('pool_size', filePath === undefined && sizeBytes !== null, 'goes with dataset.pool_file only');
  refuse('make_filesystem', devicePath === undefined && makeFilesystem !== undefined, 'goes with dataset.device only');
  if (filePath !== undefined) return { kind: 'file', filePath, sizeBytes, mountPoint, zstdLevel };
  if (devicePath !== undefined) {
    return { kind: 'device', devicePath, makeFilesystem: makeFilesystem ?? false, mountPoint, zstdLevel };
  }
  const mountedByOthers = 'is for a pool that the agent mounts; mount the filesystem with it instead';
  refuse('pool_mount', settings.path('pool_mount') !== undefined, mountedByOthers);
  refuse('zstd_level', zstdLevel !== null, `${mountedByOthers} (compress=zstd:LEVEL)`);
  return { kind: 'directory', rootPath: rootPath ?? '' };
}

function readCompression(settings: BackendSettings): Compression | undefined {
  if (settings.text('compression')?.startsWith('zstd:') === true) {
    throw new BackendSettingsError(
      'compression: btrfs has one zstd level for a whole pool; write zstd, and the level as dataset.zstd_level',
    );
  }
  return settings.choice('compression', COMPRESSIONS);
}
