import type { PoolView, ProfileView, StorageFigures, StorageView } from '../api/storage.ts';
import type { PoolFigures, ProfileTraits } from '../model/storage-state.ts';
import type { ClusterView, LiveNode, PoolMeasure } from './cluster.ts';
import type { DeploymentView } from './deployment.ts';
import { NO_PROVISION, type Provision, plus } from './provisioned.ts';

/** The cluster's storage: every pool that a known node reaches, and the sum over them, each counted once. */
export function storageView(deployment: DeploymentView, cluster: ClusterView): StorageView {
  const byPool = new Map<string, LiveNode[]>();
  for (const node of cluster.nodes()) {
    const nodes = byPool.get(node.pool);
    if (nodes === undefined) byPool.set(node.pool, [node]);
    else nodes.push(node);
  }
  const pools = [...byPool].map(([pool, nodes]) => viewOf(pool, nodes, deployment, cluster));
  return {
    pools,
    nodes: [...cluster.nodes()].map(({ id, host, connected, pool }) => ({ uuid: id, host, connected, pool })),
    total: totalOf(
      pools.map(({ figures }) => figures),
      deployment.provisioned.total.bytes,
    ),
  };
}

/** One pool; undefined when no known node reaches it. */
export function poolView(pool: string, deployment: DeploymentView, cluster: ClusterView): PoolView | undefined {
  const nodes = [...cluster.nodes()].filter((node) => node.pool === pool);
  return nodes.length === 0 ? undefined : viewOf(pool, nodes, deployment, cluster);
}

function viewOf(pool: string, nodes: readonly LiveNode[], deployment: DeploymentView, cluster: ClusterView): PoolView {
  const measures = nodes
    .flatMap(({ id }) => cluster.poolMeasure(id) ?? [])
    .toSorted((one, other) => one.sequence - other.sequence);
  const newest = measures.at(-1);
  const provisions = provisionsOf(pool, nodes, deployment);
  const provisioned = [...provisions.values()].reduce(plus, NO_PROVISION).bytes;
  return {
    pool,
    backend: nodes.at(-1)?.backend ?? '',
    nodes: nodes.filter(({ connected }) => connected).map(({ id }) => id),
    measured: newest === undefined ? null : new Date(newest.measuredAtMs).toISOString(),
    profiles: profilesOf(nodes, measures).map((traits) => profileView(traits, provisions.get(traits.name))),
    figures: figuresView(newest?.report.figures, provisioned),
  };
}

function provisionsOf(
  pool: string,
  nodes: readonly LiveNode[],
  { provisioned }: DeploymentView,
): ReadonlyMap<string | null, Provision> {
  const sums = new Map(provisioned.inPool(pool));
  for (const { id } of nodes) {
    for (const [profile, provision] of provisioned.onNode(id)) {
      sums.set(profile, plus(sums.get(profile) ?? NO_PROVISION, provision));
    }
  }
  return sums;
}

/** Profiles of all nodes of a pool. Nodes may be configured differently: what was measured last holds. */
function profilesOf(nodes: readonly LiveNode[], measures: readonly PoolMeasure[]): readonly ProfileTraits[] {
  const profiles = new Map<string, ProfileTraits>();
  for (const name of nodes.flatMap((node) => node.profiles)) profiles.set(name, unknownTraits(name));
  for (const traits of measures.flatMap(({ report }) => report.profiles)) profiles.set(traits.name, traits);
  return [...profiles.values()];
}

function unknownTraits(name: string): ProfileTraits {
  return { name, media: null, compression: null, dedup: null, replication: null, encryption: null };
}

function profileView(traits: ProfileTraits, { datasets, bytes }: Provision = NO_PROVISION): ProfileView {
  const { name, media, compression, dedup, replication, encryption } = traits;
  return { name, media, compression, dedup, replication, encryption, datasets, provisioned: bytes };
}

function figuresView(figures: PoolFigures | undefined, provisioned: number): StorageFigures {
  const logical = figures?.logicalBytes ?? null;
  const savedByCompression = figures?.compressionSavedBytes ?? null;
  return {
    total: figures?.totalBytes ?? null,
    available: figures?.availableBytes ?? null,
    used: figures?.usedBytes ?? null,
    provisioned,
    logical,
    physical: figures?.physicalBytes ?? null,
    saved_by_compression: savedByCompression,
    saved_by_sharing: figures?.sharedSavedBytes ?? null,
    compression_share: shareOf(savedByCompression, logical),
  };
}

/** Sums of what is known of every pool; one unknown figure makes its sum unknown. */
function totalOf(pools: readonly StorageFigures[], provisioned: number): StorageFigures {
  const sum = (figure: (pool: StorageFigures) => number | null): number | null =>
    pools.length === 0
      ? null
      : pools.map(figure).reduce((one, other) => (one === null || other === null ? null : one + other), 0);
  const logical = sum((pool) => pool.logical);
  const savedByCompression = sum((pool) => pool.saved_by_compression);
  return {
    total: sum((pool) => pool.total),
    available: sum((pool) => pool.available),
    used: sum((pool) => pool.used),
    provisioned,
    logical,
    physical: sum((pool) => pool.physical),
    saved_by_compression: savedByCompression,
    saved_by_sharing: sum((pool) => pool.saved_by_sharing),
    compression_share: shareOf(savedByCompression, logical),
  };
}

function shareOf(savedBytes: number | null, logicalBytes: number | null): number | null {
  if (savedBytes === null || logicalBytes === null || logicalBytes === 0) return null;
  return Math.min(1, savedBytes / logicalBytes);
}
