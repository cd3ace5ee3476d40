/** What the control services of a cluster on one machine keep their records in: a directory of their own, or an etcd that is run beside them. */
export const CLUSTER_STORES = ['level', 'etcd'] as const;
export type ClusterStore = (typeof CLUSTER_STORES)[number];
/** Storage engines that a cluster on one machine can have; a Ceph is run beside it. */
export const CLUSTER_BACKENDS = ['loopback', 'directory', 'btrfs', 'ceph'] as const;
export type ClusterBackend = (typeof CLUSTER_BACKENDS)[number];
