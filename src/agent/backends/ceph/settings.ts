import { FILESYSTEM_TYPES, type FilesystemType } from '../../host/filesystem.ts';
import { type BackendSettings, BackendSettingsError } from '../backend-settings.ts';
import { STATED_KEYS } from '../statements.ts';
import type { CephAccess } from './librados.ts';

/** One of the pools at most; without one its volumes are as those without a profile. */
export interface CephProfile {
  /** The pool of CephFS with the files of its volumes. */
  readonly dataPool?: string;
  /** The pool with the images that its volumes are. */
  readonly imagePool?: string;
  /** Of images. */
  readonly filesystem?: FilesystemType;
}

/** What the `dataset` section says that only this backend knows. */
export interface CephSettings {
  readonly access: CephAccess;
  /** Name of the CephFS; null for the only one there is. */
  readonly filesystem: string | null;
  /** Directory of CephFS with the pool. */
  readonly root: string;
  /** Each node mounts the pool in a directory of its own below it. */
  readonly poolMount: string;
  /** The pool with the images that volumes without a profile are; null for directories of CephFS. */
  readonly imagePool: string | null;
  /** Of images that ask for none. */
  readonly defaultFilesystem: FilesystemType;
  readonly profiles: Readonly<Record<string, CephProfile>>;
}

const DEFAULT_PROFILES: Readonly<Record<string, CephProfile>> = { gold: {}, silver: {}, bronze: {} };

/** Reads them. Fails with a {@link BackendSettingsError} that names the key at fault. */
export function readCephSettings(settings: BackendSettings): CephSettings {
  const user = settings.text('ceph_user');
  if (user === undefined || !/^[A-Za-z0-9._-]+$/.test(user)) {
    throw new BackendSettingsError(
      'dataset.ceph_user must name the Ceph user of this node: node1 for the key of client.node1',
    );
  }
  const root = settings.path('root_path') ?? '/flocker';
  if (root.endsWith('/'))
    throw new BackendSettingsError('dataset.root_path must be a directory of CephFS, not its root');
  const imagePool = settings.text('image_pool') ?? null;
  const sections = settings.sections('profiles');
  const profiles = [...(sections ?? [])].map(([name, profile]) => {
    return [name, readProfile(name, profile, imagePool !== null)] as const;
  });
  return {
    access: {
      confPath: settings.path('ceph_conf') ?? '/etc/ceph/ceph.conf',
      client: `client.${user}`,
      keyringPath: settings.path('ceph_keyring') ?? null,
    },
    filesystem: settings.text('ceph_filesystem') ?? null,
    root,
    poolMount: settings.path('pool_mount') ?? '/var/lib/flocker/ceph',
    imagePool,
    defaultFilesystem: settings.choice('filesystem', FILESYSTEM_TYPES) ?? 'ext4',
    profiles: sections === undefined ? DEFAULT_PROFILES : Object.fromEntries(profiles),
  };
}

/** The pools with images that volumes may be. */
export function imagePoolsOf({ imagePool, profiles }: CephSettings): readonly string[] {
  const pools = [imagePool, ...Object.values(profiles).map((profile) => profile.imagePool)];
  return [...new Set(pools.filter((pool) => typeof pool === 'string'))];
}

function readProfile(name: string, profile: BackendSettings, imagesByDefault: boolean): CephProfile {
  profile.requireOnly(['data_pool', 'image_pool', 'filesystem', ...STATED_KEYS]);
  const [dataPool, imagePool] = [profile.text('data_pool'), profile.text('image_pool')];
  const filesystem = profile.choice('filesystem', FILESYSTEM_TYPES);
  const where = `dataset.profiles.${name}`;
  if (dataPool !== undefined && imagePool !== undefined) {
    throw new BackendSettingsError(`${where} has a data_pool and an image_pool: its volumes are in one of them`);
  }
  if (filesystem !== undefined && (dataPool !== undefined || (imagePool === undefined && !imagesByDefault))) {
    throw new BackendSettingsError(`${where}.filesystem is for images: name their image_pool as well`);
  }
  return {
    ...(dataPool === undefined ? {} : { dataPool }),
    ...(imagePool === undefined ? {} : { imagePool }),
    ...(filesystem === undefined ? {} : { filesystem }),
  };
}
