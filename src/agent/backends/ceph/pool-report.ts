import type { Media, PoolFigures, PoolReport, ProfileTraits } from '../../../model/storage-state.ts';
import { type Statements, traitsOf } from '../statements.ts';
import type { CephFilesystem } from './ceph-filesystem.ts';
import type { ClusterAccess } from './cluster-access.ts';
import type { CephProfile } from './settings.ts';

export interface ReportSources {
  readonly cluster: ClusterAccess;
  readonly filesystem: CephFilesystem;
  readonly profiles: Readonly<Record<string, CephProfile>>;
  readonly statements: Statements;
  /** Of volumes without a profile, where they are images. */
  readonly imagePool: string | null;
  /** All pools with images of volumes. */
  readonly imagePools: readonly string[];
}

/** Of `osd dump`. */
interface OsdDump {
  readonly pools: readonly {
    readonly pool_name: string;
    /** 1: replicated, 3: erasure coded. */
    readonly type: number;
    readonly size: number;
    readonly crush_rule: number;
    readonly options: { readonly compression_mode?: string; readonly compression_algorithm?: string };
  }[];
}

/** Of `df detail`: bytes. What compression handled counts every copy. */
interface Usage {
  readonly pools: readonly {
    readonly name: string;
    readonly stats: {
      readonly stored: number;
      readonly bytes_used: number;
      readonly max_avail: number;
      readonly compress_bytes_used: number;
      readonly compress_under_bytes: number;
    };
  }[];
  readonly stats_by_class: Readonly<Record<string, unknown>>;
}

/** Of `osd crush rule dump`. */
interface Rule {
  readonly rule_id: number;
  readonly steps: readonly { readonly op: string; readonly item_name?: string }[];
}

/**
 * What Ceph says of the pools with the bytes of volumes. Sizes are those of the pool for volumes without a profile, before replication;
 * what is stored is that of all these pools, whoever wrote it. Ceph counts every few seconds.
 */
export async function describeCeph(sources: ReportSources, signal: AbortSignal): Promise<PoolReport> {
  const { cluster, filesystem, profiles, statements, imagePool, imagePools } = sources;
  const defaultPool = imagePool ?? filesystem.defaultDataPool;
  signal.throwIfAborted();
  const [dump, usage, rules] = await Promise.all([
    cluster.ask<OsdDump>('osd dump'),
    cluster.ask<Usage>('df', { detail: 'detail' }),
    cluster.ask<readonly Rule[]>('osd crush rule dump'),
  ]);
  signal.throwIfAborted();
  const traits = (poolName: string): Omit<ProfileTraits, 'name'> => {
    const pool = dump.pools.find(({ pool_name }) => pool_name === poolName);
    const rule = rules.find(({ rule_id }) => rule_id === pool?.crush_rule);
    return {
      media: mediaOf(rule, Object.keys(usage.stats_by_class)),
      compression: compressionOf(pool?.options),
      dedup: 'none',
      replication: pool?.type === 1 ? pool.size : null,
      encryption: null,
    };
  };
  return {
    profiles: Object.keys(statements.profiles).flatMap((name) => {
      const stated = statements.profiles[name] ?? {};
      const measured = traits(profiles[name]?.dataPool ?? profiles[name]?.imagePool ?? defaultPool);
      return traitsOf({ media: statements.media, profiles: { [name]: stated } }, measured);
    }),
    figures: figuresOf(defaultPool, { ...filesystem, imagePools }, usage),
  };
}

function figuresOf(
  defaultPool: string,
  { dataPools, imagePools }: Pick<CephFilesystem, 'dataPools'> & Pick<ReportSources, 'imagePools'>,
  { pools }: Usage,
): PoolFigures {
  const first = pools.find(({ name }) => name === defaultPool)?.stats;
  const names = new Set([...dataPools, ...imagePools]);
  const all = pools.filter(({ name }) => names.has(name)).map(({ stats }) => stats);
  const sum = (of: (stats: Usage['pools'][number]['stats']) => number): number | null =>
    all.length < names.size ? null : all.reduce((total, stats) => total + of(stats), 0);
  return {
    totalBytes: first === undefined ? null : first.stored + first.max_avail,
    availableBytes: first?.max_avail ?? null,
    usedBytes: sum(({ stored }) => stored),
    logicalBytes: sum(({ stored }) => stored),
    physicalBytes: sum(({ bytes_used }) => bytes_used),
    compressionSavedBytes: sum((stats) => Math.max(0, stats.compress_under_bytes - stats.compress_bytes_used)),
    // Copies of directories share nothing; how much images made from snapshots share is not counted anywhere.
    sharedSavedBytes: imagePools.length === 0 ? 0 : null,
  };
}

/** A pool without a mode of its own follows the OSDs' configuration, which this node's key does not show. */
function compressionOf(options: OsdDump['pools'][number]['options'] | undefined): string | null {
  const mode = options?.compression_mode;
  if (mode === 'none') return 'none';
  return mode === 'aggressive' || mode === 'force' ? (options?.compression_algorithm ?? null) : null;
}

/** The device class that a rule takes (`default~ssd`), or the only one there is. */
function mediaOf(rule: Rule | undefined, classes: readonly string[]): Media | null {
  const taken = rule?.steps.find(({ op }) => op === 'take')?.item_name?.split('~')[1];
  const only = classes.length === 1 ? classes[0] : undefined;
  const name = taken ?? (rule === undefined ? undefined : only);
  return name === 'ssd' || name === 'hdd' || name === 'nvme' ? name : null;
}
