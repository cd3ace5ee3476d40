export type BackendKind = 'loopback' | 'directory' | 'btrfs' | 'ceph';

/** A key of the `dataset` section of `agent.yml`: who takes it and what it means. */
export interface DatasetSetting {
  readonly key: string;
  readonly backends: readonly BackendKind[];
  readonly type: string;
  /** What is in force without it, in words; null when nothing is. */
  readonly default: string | null;
  readonly description: string;
}

const ALL = ['loopback', 'directory', 'btrfs', 'ceph'] as const;
const FILES = ['loopback', 'directory'] as const;
const BTRFS = ['btrfs'] as const;
const CEPH = ['ceph'] as const;

/** Every key that a backend takes; others are refused. The reference page is made from this. */
export const DATASET_SETTINGS: readonly DatasetSetting[] = [
  row(
    'backend',
    ALL,
    ALL.join(', '),
    null,
    'The storage engine. Without a `dataset` section the agent only serves volumes that another agent attaches.',
  ),
  row(
    'root_path',
    FILES,
    'absolute path',
    '`/var/lib/flocker/loopback`, `/var/lib/flocker/directory`',
    'The pool: the same storage on all nodes of it.',
  ),
  row(
    'root_path',
    BTRFS,
    'absolute path',
    null,
    'A directory on btrfs as the pool; one of it, `device` and `pool_file` is needed.',
  ),
  row('device', BTRFS, 'absolute path', null, 'A block device as the pool.'),
  row('make_filesystem', BTRFS, 'true, false', 'false', 'Whether a blank `device` may be formatted.'),
  row('pool_file', BTRFS, 'absolute path', null, 'A file as the pool.'),
  row('pool_size', BTRFS, 'size', null, 'Size of a `pool_file` that does not exist yet.'),
  row('pool_mount', BTRFS, 'absolute path', '`/var/lib/flocker/btrfs`', 'Where a `device` or `pool_file` is mounted.'),
  row('quota', BTRFS, 'full, simple, none', 'full', 'How sizes are enforced.'),
  row('ceph_user', CEPH, 'text', null, 'The Ceph user of this node, without `client.`. Needed. Each node has its own.'),
  row('ceph_conf', CEPH, 'absolute path', '`/etc/ceph/ceph.conf`', 'How to reach the cluster.'),
  row('ceph_keyring', CEPH, 'absolute path', 'where `ceph.conf` says', "The keyring with that user's key."),
  row('ceph_filesystem', CEPH, 'text', 'the only one', 'Name of the CephFS.'),
  row('root_path', CEPH, 'path in CephFS', '`/flocker`', 'The directory with the pool; it has to exist.'),
  row('pool_mount', CEPH, 'absolute path', '`/var/lib/flocker/ceph`', 'Where the node mounts the pool.'),
  row('compression', BTRFS, 'none, lzo, zstd', 'none', 'Of volumes without a profile.'),
  row('zstd_level', BTRFS, '1 to 15', '3', 'Of the whole pool; for a pool that the agent mounts.'),
  row(
    'image_pool',
    CEPH,
    'text',
    null,
    'The pool with the RBD images that volumes without a profile are; without it they are directories.',
  ),
  row('filesystem', ['loopback', 'ceph'], 'ext4, xfs', 'ext4', 'Of volumes that ask for none; on ceph of RBD images.'),
  row('default_size', ALL, 'size', '75GiB', 'Of volumes that are made without a size.'),
  row('allocation_unit', ALL, 'size', '1', 'Sizes are rounded up to a multiple of it.'),
  row(
    'profiles',
    ALL,
    'mapping',
    'gold, silver, bronze',
    'Profile → its options. All take `media`, `compression`, `dedup`, `replication`, `encryption` as statements of what cannot be measured; `filesystem` on loopback, on btrfs `compression` is a setting, and on ceph `data_pool` names the pool of the files, or `image_pool` that of RBD images, with a `filesystem`.',
  ),
  row('media', ALL, 'ssd, hdd, nvme', 'as measured', 'What the pool is on.'),
  row(
    'compute_instance_id',
    ALL,
    'text',
    "the node's UUID",
    'Name of this node in the pool. It must never change while the node has volumes.',
  ),
];

/** The keys that a backend takes. */
export function settingsOf(backend: BackendKind): readonly string[] {
  return DATASET_SETTINGS.filter(({ backends }) => backends.includes(backend)).map(({ key }) => key);
}

function row(
  key: string,
  backends: readonly BackendKind[],
  type: string,
  byDefault: string | null,
  description: string,
): DatasetSetting {
  return { key, backends, type, default: byDefault, description };
}
