import { copyFile, mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Rados } from '../../../agent/backends/ceph/librados.ts';
import { runProgram } from '../../../agent/host/run-program.ts';
import type { Clock } from '../../../kit/clock.ts';
import type { NewUuid } from '../../../kit/ids.ts';
import {
  type CephPlace,
  configuration,
  confPath,
  DATA_POOL,
  FILESYSTEM,
  IMAGE_POOL,
  keyringPath,
  METADATA_POOL,
  monitorAddress,
  OSDS,
} from './configuration.ts';
import type { CephProgram } from './programs.ts';

const TIMEOUT_MS = 60_000;
const ALL = { mon: 'allow *', osd: 'allow *', mds: 'allow *', mgr: 'allow *' };
/** What each daemon and the admin may do. */
const CAPABILITIES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'mon.': { mon: 'allow *' },
  'client.admin': ALL,
  'mgr.x': { mon: 'allow profile mgr', osd: 'allow *', mds: 'allow *' },
  'mds.a': { mon: 'allow profile mds', osd: 'allow rwx', mds: 'allow *', mgr: 'allow profile mds' },
  ...Object.fromEntries(
    OSDS.map((id) => [`osd.${id}`, { mon: 'allow profile osd', mgr: 'allow profile osd', osd: 'allow *' }]),
  ),
};

/** Makes the parts of a Ceph cluster on one machine, in the order in which they need each other. */
export class ClusterMaker {
  readonly #place: CephPlace;
  readonly #newUuid: NewUuid;
  readonly #clock: Clock;

  constructor(place: CephPlace, { newUuid, clock }: { readonly newUuid: NewUuid; readonly clock: Clock }) {
    this.#place = place;
    this.#newUuid = newUuid;
    this.#clock = clock;
  }

  /** Directories, configuration, keys and the monitor's data: what it needs to start. */
  async monitor(): Promise<void> {
    const { directory } = this.#place;
    for (const part of ['mon/a', 'mgr/x', 'mds/a', 'run', 'log', 'keys', ...OSDS.map((id) => `osd/${id}`)]) {
      await mkdir(join(directory, part), { recursive: true, mode: 0o700 });
    }
    const fsid = this.#newUuid();
    await writeFile(confPath(this.#place), configuration(this.#place, fsid));
    const keys = join(directory, 'keys/all');
    await writeFile(keys, await this.#keys(), { mode: 0o600 });
    const map = join(directory, 'monmap');
    await this.#run('monmaptool', ['--create', '--fsid', fsid, '--addv', 'a', monitorAddress(this.#place), map]);
    await this.#runWithConf('ceph-mon', ['--mkfs', '-i', 'a', '--monmap', map, '--keyring', keys]);
    await copyFile(keys, join(directory, 'mon/a/keyring'));
  }

  /** Data of the storage daemons, and their places in the cluster. */
  async storage(rados: Rados): Promise<void> {
    const uuids = OSDS.map((id) => ({ id, uuid: this.#newUuid() }));
    const made = uuids.map(({ id, uuid }) =>
      this.#runWithConf('ceph-osd', ['-i', String(id), '--mkfs', '--osd-uuid', uuid]),
    );
    await Promise.all(made);
    for (const { id, uuid } of uuids) await rados.monCommand({ prefix: 'osd new', uuid, id });
  }

  /** The filesystem, and a pool for images. */
  async pools(rados: Rados): Promise<void> {
    for (const pool of [METADATA_POOL, DATA_POOL, IMAGE_POOL]) {
      await rados.monCommand({ prefix: 'osd pool create', pool, pg_num: 8, pgp_num: 8 });
    }
    await rados.monCommand({ prefix: 'osd pool application enable', pool: IMAGE_POOL, app: 'rbd' });
    await rados.monCommand({ prefix: 'fs new', fs_name: FILESYSTEM, metadata: METADATA_POOL, data: DATA_POOL });
  }

  /** Makes a directory in the root of the filesystem, which nobody but root may enter. */
  async rootDirectory(name: string): Promise<void> {
    const mountPoint = join(this.#place.directory, 'root');
    await mkdir(mountPoint, { recursive: true, mode: 0o700 });
    await this.#runWithConf('ceph-fuse', ['-n', 'client.admin', mountPoint]);
    try {
      await mkdir(join(mountPoint, name), { recursive: true, mode: 0o700 });
    } finally {
      // Resolves when its process has given back what it held; lazily, as it may be busy for a moment after it was mounted.
      await this.#run('umount', ['-l', mountPoint]);
    }
    await rmdir(mountPoint);
  }

  /** Keys of all daemons and of `client.admin`, each in a file of its own; returns the monitor's keyring with all of them. */
  async #keys(): Promise<string> {
    const texts = await Promise.all(
      Object.entries(CAPABILITIES).map(async ([name, of]) => {
        const path = keyringPath(this.#place, name);
        const capabilities = Object.entries(of).flatMap(([daemon, cap]) => ['--cap', daemon, cap]);
        await this.#run('ceph-authtool', ['-C', '--gen-key', '-n', name, ...capabilities, path]);
        return await readFile(path, 'utf8');
      }),
    );
    return texts.join('\n');
  }

  #runWithConf(name: CephProgram, parameters: readonly string[]): Promise<void> {
    return this.#run(name, ['-c', confPath(this.#place), ...parameters]);
  }

  async #run(name: CephProgram | 'umount', parameters: readonly string[]): Promise<void> {
    const signal = new AbortController().signal;
    await runProgram({ name, debianPackage: name }, parameters, { clock: this.#clock, signal, timeoutMs: TIMEOUT_MS });
  }
}
