import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream, mkdirSync } from 'node:fs';
import { access, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { geteuid } from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { connectRados, type Rados } from '../../src/agent/backends/ceph/librados.ts';
import { mountsAt, readMountTable } from '../../src/agent/host/mount-table.ts';
import type { WorldPlace } from '../contract/backend-world.ts';

const run = promisify(execFile);
const READY_MS = 40_000;
const OSDS = [0, 1, 2] as const;
const NEEDED = [...['ceph-mon', 'ceph-osd', 'ceph-mgr', 'ceph-mds', 'ceph-fuse', 'ceph-authtool', 'monmaptool']];

/** Why tests with Ceph cannot run here; null when they can. */
export async function cephSkipReason(): Promise<string | null> {
  if (geteuid?.() !== 0) return ' (skipped: needs root)';
  for (const name of NEEDED) {
    const there = await access(`/usr/bin/${name}`).then(
      () => true,
      () => false,
    );
    if (!there) {
      return ` (skipped: ${name} is not there; Debian: ceph-mon ceph-mgr ceph-mgr-modules-core ceph-osd ceph-mds ceph-common ceph-fuse)`;
    }
  }
  return null;
}

/** A cluster on this machine: one monitor, one manager, three OSDs that keep each object twice, one MDS. */
export class CephCluster {
  static readonly filesystem = 'cfs';
  /** A pool for RBD images. */
  static readonly imagePool = 'rbd';
  readonly directory: string;
  readonly confPath: string;
  readonly #daemons = new Map<string, ChildProcess>();
  /** As client.admin. */
  #rados: Rados | undefined;

  private constructor(directory: string) {
    this.directory = directory;
    this.confPath = join(directory, 'ceph.conf');
  }

  /** Resolves when the filesystem can be mounted: 7 to 15 s. */
  static async start(ip = '127.0.0.1'): Promise<CephCluster> {
    const cluster = new CephCluster(await mkdtemp(join(tmpdir(), 'ceph-')));
    try {
      await cluster.#start(ip);
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  get rados(): Rados {
    if (this.#rados === undefined) throw new Error('the cluster is not running');
    return this.#rados;
  }

  /**
   * A pool of its own in the filesystem, for a `dataset` section of nodes that have their directories below `directory`. They have the
   * key that docs/ceph.md says to make.
   */
  place(directory: string): WorldPlace {
    const root = `/${randomUUID()}`;
    mkdirSync(join(this.directory, 'root', root), { mode: 0o700 });
    return {
      rootPath: join(directory, 'ceph/a/pool'),
      section: {
        ...{ backend: 'ceph', ceph_conf: this.confPath, ceph_user: 'node', root_path: root },
        ...{ ceph_keyring: join(this.directory, 'keys/client.node.keyring'), pool_mount: join(directory, 'ceph') },
      },
    };
  }

  async mon<T>(prefix: string, more: Readonly<Record<string, unknown>> = {}): Promise<T> {
    return JSON.parse((await this.rados.monCommand({ prefix, ...more })) || 'null') as T;
  }

  /** Makes a client with these capabilities; returns the path of its keyring. */
  async makeClient(name: string, caps: Readonly<Record<string, string>>): Promise<string> {
    const path = join(this.directory, 'keys', `${name}.keyring`);
    const text = await this.rados.monCommand({
      ...{ prefix: 'auth get-or-create', entity: name, caps: Object.entries(caps).flat(), format: 'plain' },
    });
    await writeFile(path, text, { mode: 0o600 });
    return path;
  }

  /** Kills all daemons, as their data are of no further use, and removes them. */
  async stop(): Promise<void> {
    await this.#rados?.close();
    this.#rados = undefined;
    await run('umount', ['-l', join(this.directory, 'root')]).catch(() => undefined);
    for (const child of this.#daemons.values()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    this.#daemons.clear();
    await rm(this.directory, { recursive: true, force: true });
  }

  async #start(ip: string): Promise<void> {
    const [v2, v1] = [await freePort(ip), await freePort(ip)];
    const at = `[v2:${ip}:${v2},v1:${ip}:${v1}]`;
    const fsid = randomUUID();
    for (const part of ['mon/a', 'mgr/x', 'mds/a', 'run', 'log', 'keys', 'root', ...OSDS.map((id) => `osd/${id}`)]) {
      await mkdir(join(this.directory, part), { recursive: true });
    }
    await writeFile(this.confPath, configuration(this.directory, fsid, at));
    const monKeys = join(this.directory, 'keys/all');
    await writeFile(monKeys, await this.#keys());
    const map = join(this.directory, 'monmap');
    await run('monmaptool', ['--create', '--fsid', fsid, '--addv', 'a', at, map]);
    await this.#run('ceph-mon', ['--mkfs', '-i', 'a', '--monmap', map, '--keyring', monKeys]);
    await copyFile(monKeys, join(this.directory, 'mon/a/keyring'));
    this.#daemon('ceph-mon', 'a');
    this.#daemon('ceph-mgr', 'x');
    const uuids = OSDS.map(() => randomUUID());
    const made = OSDS.map((id) => this.#run('ceph-osd', ['-i', String(id), '--mkfs', '--osd-uuid', uuids[id] ?? '']));
    const access = {
      ...{ confPath: this.confPath, client: 'client.admin' },
      keyringPath: join(this.directory, 'keys/client.admin.keyring'),
    };
    this.#rados = await until(() => connectRados(access));
    await Promise.all(made);
    for (const id of OSDS) {
      await this.mon('osd new', { uuid: uuids[id], id });
      this.#daemon('ceph-osd', String(id));
    }
    this.#daemon('ceph-mds', 'a');
    for (const pool of ['cephfs.cfs.meta', 'cephfs.cfs.data', CephCluster.imagePool]) {
      await this.mon('osd pool create', { pool, pg_num: 8, pgp_num: 8 });
    }
    await this.mon('osd pool application enable', { pool: CephCluster.imagePool, app: 'rbd' });
    await this.mon('fs new', { fs_name: 'cfs', metadata: 'cephfs.cfs.meta', data: 'cephfs.cfs.data' });
    await until(async () => {
      const { up } = await this.#mds();
      if (up !== 'up:active') throw new Error(`the MDS is ${up}`);
    });
    await this.makeClient('client.node', {
      mon: 'allow r, allow command "osd blocklist" with blocklistop=add',
      mds: 'allow rwps',
      osd: `allow rw tag cephfs data=cfs, profile rbd pool=${CephCluster.imagePool}`,
    });
    const root = join(this.directory, 'root');
    const mount = ['-f', '-c', this.confPath, '-n', 'client.admin', root];
    this.#spawn('ceph-fuse', 'root', mount);
    await until(async () => {
      if (mountsAt(await readMountTable(), root).length === 0) throw new Error('the filesystem is not mounted');
    });
  }

  async #mds(): Promise<{ readonly up: string }> {
    const dump = await this.mon<{ filesystems: { mdsmap: { info: Record<string, { state: string }> } }[] }>('fs dump');
    const [info] = Object.values(dump.filesystems[0]?.mdsmap.info ?? {});
    return { up: info?.state ?? 'down' };
  }

  /** Keys of all daemons and of client.admin, each in a file of its own; returns the monitor's keyring with all of them. */
  async #keys(): Promise<string> {
    const all = { mon: 'allow *', osd: 'allow *', mds: 'allow *', mgr: 'allow *' };
    const caps: Readonly<Record<string, Readonly<Record<string, string>>>> = {
      'mon.': { mon: 'allow *' },
      'client.admin': all,
      'mgr.x': { mon: 'allow profile mgr', osd: 'allow *', mds: 'allow *' },
      'mds.a': { mon: 'allow profile mds', osd: 'allow rwx', mds: 'allow *', mgr: 'allow profile mds' },
      ...Object.fromEntries(
        OSDS.map((id) => [`osd.${id}`, { mon: 'allow profile osd', mgr: 'allow profile osd', osd: 'allow *' }]),
      ),
    };
    const texts = await Promise.all(
      Object.entries(caps).map(async ([name, of]) => {
        const path = join(this.directory, 'keys', `${name}.keyring`);
        const capabilities = Object.entries(of).flatMap(([daemon, cap]) => ['--cap', daemon, cap]);
        await run('ceph-authtool', ['-C', '--gen-key', '-n', name, ...capabilities, path]);
        return await readFile(path, 'utf8');
      }),
    );
    return texts.join('\n');
  }

  async #run(program: string, parameters: readonly string[]): Promise<void> {
    await run(program, ['-c', this.confPath, ...parameters], { timeout: READY_MS });
  }

  /** In the foreground, so that its pid is known and it ends with this process. */
  #daemon(program: string, id: string): void {
    this.#spawn(program, id, ['-f', '-c', this.confPath, '-i', id]);
  }

  #spawn(program: string, id: string, parameters: readonly string[]): void {
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', program, ...parameters], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' },
    });
    const log = createWriteStream(join(this.directory, 'log', `${program}.${id}.out`));
    log.on('error', () => undefined);
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    this.#daemons.set(`${program}.${id}`, child);
  }
}

/** Tries again until it works or the time is over. */
async function until<T>(attempt: () => Promise<T>): Promise<T> {
  const untilMs = performance.now() + READY_MS;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > untilMs) throw error;
      await sleep(50);
    }
  }
}

async function freePort(ip: string): Promise<number> {
  const server = createServer().listen(0, ip);
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

function configuration(directory: string, fsid: string, monitor: string): string {
  return `[global]
fsid = ${fsid}
mon_host = ${monitor}
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
