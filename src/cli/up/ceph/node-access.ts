import type { ClusterLayout } from '../layout.ts';
import { confPath, FILESYSTEM, IMAGE_POOL } from './configuration.ts';

/** The directory of a fresh filesystem that nodes may have their pool in. */
export const POOL_ROOT = 'flocker';

/** What a node may do in the cluster: docs/ceph.md. */
export const NODE_CAPABILITIES: Readonly<Record<string, string>> = {
  mon: 'allow r, allow command "osd blocklist" with blocklistop=add',
  mds: `allow rwfps path=/${POOL_ROOT}`,
  osd: `allow rw tag cephfs data=${FILESYSTEM}, profile rbd pool=${IMAGE_POOL}`,
};

export function cephUser(node: number): string {
  return `node${node}`;
}

/** The part of `agent.yml` that says how node `node` reaches its volumes. */
export function cephSection(layout: ClusterLayout, node: number): Readonly<Record<string, unknown>> {
  return {
    backend: 'ceph',
    ceph_user: cephUser(node),
    ceph_conf: confPath({ directory: layout.ceph }),
    ceph_keyring: layout.node(node).cephKeyring,
    root_path: `/${POOL_ROOT}`,
    pool_mount: layout.cephMounts,
    profiles: { gold: {}, silver: {}, bronze: {}, image: { image_pool: IMAGE_POOL } },
  };
}
