/** Storage engines that a cluster on one machine can have. */
export const CLUSTER_BACKENDS = ['loopback', 'directory', 'btrfs'] as const;
export type ClusterBackend = (typeof CLUSTER_BACKENDS)[number];
