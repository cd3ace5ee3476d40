import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { geteuid } from 'node:process';
import { promisify } from 'node:util';
import type { Rados } from '../../src/agent/backends/ceph/librados.ts';
import { type CephDaemon, CephDaemons } from '../../src/cli/up/ceph/ceph-daemons.ts';
import { confPath, DATA_POOL, FILESYSTEM, IMAGE_POOL, keyringPath } from '../../src/cli/up/ceph/configuration.ts';
import { NODE_CAPABILITIES } from '../../src/cli/up/ceph/node-access.ts';
import { findCephPrograms } from '../../src/cli/up/ceph/programs.ts';
import { systemClock } from '../../src/kit/clock.ts';
import { errorText } from '../../src/kit/coded-error.ts';
import type { WorldPlace } from '../contract/backend-world.ts';

const run = promisify(execFile);

/** Why tests with Ceph cannot run here; null when they can. */
export async function cephSkipReason(): Promise<string | null> {
  if (geteuid?.() !== 0) return ' (skipped: needs root)';
  return await findCephPrograms().then(
    () => null,
    (error: unknown) => ` (skipped: ${errorText(error)})`,
  );
}

/** The cluster of `flocker up` by itself, with its filesystem mounted for the tests. */
export class CephCluster {
  static readonly filesystem = FILESYSTEM;
  static readonly dataPool = DATA_POOL;
  /** A pool for RBD images. */
  static readonly imagePool = IMAGE_POOL;
  readonly directory: string;
  #daemons: CephDaemons | undefined;

  private constructor(directory: string) {
    this.directory = directory;
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

  get confPath(): string {
    return confPath(this.#place);
  }

  get rados(): Rados {
    return this.#running.rados;
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
        ...{ ceph_keyring: keyringPath(this.#place, 'client.node'), pool_mount: join(directory, 'ceph') },
      },
    };
  }

  async mon<T>(prefix: string, more: Readonly<Record<string, unknown>> = {}): Promise<T> {
    return JSON.parse((await this.rados.monCommand({ prefix, ...more })) || 'null') as T;
  }

  /** Makes a client with these capabilities; returns the path of its keyring. */
  async makeClient(name: string, caps: Readonly<Record<string, string>>): Promise<string> {
    const path = keyringPath(this.#place, name);
    await this.#running.makeClient(name, caps, path);
    return path;
  }

  /** Kills a daemon and leaves it dead. */
  async halt(name: CephDaemon): Promise<void> {
    await this.#running.halt(name);
  }

  /** Starts a daemon again that was halted. */
  async resume(name: CephDaemon): Promise<void> {
    await this.#running.resume(name);
  }

  /** Kills all daemons, as their data are of no further use, and removes them. */
  async stop(): Promise<void> {
    await run('umount', ['-l', join(this.directory, 'root')]).catch(() => undefined);
    await this.#daemons?.stop();
    await rm(this.directory, { recursive: true, force: true });
  }

  get #place(): { readonly directory: string } {
    return { directory: join(this.directory, 'c') };
  }

  get #running(): CephDaemons {
    if (this.#daemons === undefined) throw new Error('the cluster is not running');
    return this.#daemons;
  }

  async #start(ip: string): Promise<void> {
    this.#daemons = await CephDaemons.start({
      ...{ ...this.#place, ip, monitor: { v2: await freePort(ip), v1: await freePort(ip) } },
      ...{ clock: systemClock, random: Math.random, newUuid: randomUUID, onStart: () => undefined },
    });
    // Each pool of the tests has a directory of its own.
    await this.makeClient('client.node', { ...NODE_CAPABILITIES, mds: 'allow rwfps' });
    const root = join(this.directory, 'root');
    await mkdir(root, { mode: 0o700 });
    await run('ceph-fuse', ['-c', this.confPath, '-n', 'client.admin', root]);
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
