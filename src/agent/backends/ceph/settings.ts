import { type BackendSettings, BackendSettingsError } from '../backend-settings.ts';
import { STATED_KEYS } from '../statements.ts';
import type { CephAccess } from './librados.ts';

export interface CephProfile {
  /** Where the bytes of its volumes are; undefined for the filesystem's first data pool. */
  readonly dataPool?: string;
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
  const sections = settings.sections('profiles');
  const profiles = [...(sections ?? [])].map(([name, profile]) => {
    profile.requireOnly(['data_pool', ...STATED_KEYS]);
    const dataPool = profile.text('data_pool');
    return [name, dataPool === undefined ? {} : { dataPool }] as const;
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
    profiles: sections === undefined ? DEFAULT_PROFILES : Object.fromEntries(profiles),
  };
}
