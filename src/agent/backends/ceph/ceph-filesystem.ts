import { BackendError } from '../backend.ts';
import type { ClusterAccess } from './cluster-access.ts';

/** A CephFS as its cluster describes it. */
export interface CephFilesystem {
  readonly name: string;
  /** Where files are that ask for nothing else. */
  readonly defaultDataPool: string;
  readonly dataPools: readonly string[];
}

interface Listed {
  readonly name: string;
  readonly data_pools: readonly string[];
}

/** The CephFS of that name, or the only one. Fails with `pool_unreachable`, naming those there are. */
export async function findFilesystem(cluster: ClusterAccess, name: string | null): Promise<CephFilesystem> {
  const listed = await cluster.ask<readonly Listed[]>('fs ls');
  const found = name === null && listed.length === 1 ? listed[0] : listed.find((one) => one.name === name);
  const [defaultDataPool] = found?.data_pools ?? [];
  if (found !== undefined && defaultDataPool !== undefined) {
    return { name: found.name, defaultDataPool, dataPools: found.data_pools };
  }
  const there = listed.map((one) => one.name).join(', ') || 'none';
  const text = `${name === null ? 'dataset.ceph_filesystem does not say which CephFS to use' : `there is no CephFS ${name}`}; there are: ${there}`;
  throw new BackendError('pool_unreachable', text);
}
