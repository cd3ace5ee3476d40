import { join } from 'node:path';

/** Where the monitor listens. The other daemons choose their ports. */
export interface MonitorPorts {
  readonly v2: number;
  readonly v1: number;
}

export interface CephPlace {
  /** Absolute path of everything that the cluster keeps. */
  readonly directory: string;
  /** All daemons listen on it only. */
  readonly ip: string;
  readonly monitor: MonitorPorts;
}

export const FILESYSTEM = 'cfs';
export const DATA_POOL = 'cephfs.cfs.data';
export const METADATA_POOL = 'cephfs.cfs.meta';
/** Of RBD images. */
export const IMAGE_POOL = 'rbd';
export const OSDS = [0, 1, 2] as const;

/** Path of the cluster's `ceph.conf`. */
export function confPath({ directory }: Pick<CephPlace, 'directory'>): string {
  return join(directory, 'ceph.conf');
}

/** Path of the key of a daemon or of `client.admin`. */
export function keyringPath({ directory }: Pick<CephPlace, 'directory'>, name: string): string {
  return join(directory, 'keys', `${name}.keyring`);
}

/** The monitor's addresses, as Ceph writes them. */
export function monitorAddress({ ip, monitor }: CephPlace): string {
  return `[v2:${ip}:${monitor.v2},v1:${ip}:${monitor.v1}]`;
}

/** Text of `ceph.conf`: three OSDs on sparse files that keep each object twice, with little memory, all on one machine. */
export function configuration(place: CephPlace, fsid: string): string {
  const { directory, ip } = place;
  return `[global]
fsid = ${fsid}
mon_host = ${monitorAddress(place)}
public_network = ${ip}/32
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = false
keyring = ${directory}/keys/$name.keyring
run_dir = ${directory}/run
admin_socket = ${directory}/run/$name.$pid.asok
log_file = ${directory}/log/$name.log
crash_dir = ${directory}/log
osd_pool_default_size = 2
osd_pool_default_min_size = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_delete = true
mon_max_pg_per_osd = 1000
mon_osd_blocklist_default_expire = 157680000
paxos_propose_interval = 0.1
[mon]
keyring = ${directory}/mon/$id/keyring
mon_data = ${directory}/mon/$id
mon_data_avail_warn = 1
mon_data_avail_crit = 1
[mgr]
mgr_data = ${directory}/mgr/$id
mgr_initial_modules =
[mds]
mds_data = ${directory}/mds/$id
mds_cache_memory_limit = 67108864
[osd]
osd_data = ${directory}/osd/$id
osd_objectstore = bluestore
bluestore_block_size = 4294967296
bluestore_cache_autotune = false
bluestore_cache_size = 33554432
osd_op_num_shards = 2
osd_op_num_threads_per_shard = 1
osd_recovery_sleep = 0
[client]
log_file = ${directory}/log/$name.$pid.log
`;
}
