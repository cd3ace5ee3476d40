import { access, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { connectRados, type Rados } from '../../../agent/backends/ceph/librados.ts';
import { BOUND_TO_US } from '../../../agent/host/run-program.ts';
import { writeFileDurably } from '../../../kit/atomic-file.ts';
import { pause } from '../../../kit/clock.ts';
import { withDeadline } from '../../../kit/deadline.ts';
import type { NewUuid } from '../../../kit/ids.ts';
import { DaemonProcess, type DaemonProcessOptions } from '../daemon-process.ts';
import { type CephPlace, confPath, keyringPath, OSDS } from './configuration.ts';
import { ClusterMaker } from './make-cluster.ts';
import { POOL_ROOT } from './node-access.ts';
import { type CephProgram, type CephPrograms, findCephPrograms } from './programs.ts';

const START_TIMEOUT_MS = 120_000;
const LOOK_AGAIN_MS = 50;

export interface CephOptions extends CephPlace, Pick<DaemonProcessOptions, 'clock' | 'random' | 'onStart'> {
  readonly newUuid: NewUuid;
}

/** A daemon of the cluster, as Ceph names it. */
export type CephDaemon = 'mon.a' | 'mgr.x' | 'mds.a' | `osd.${(typeof OSDS)[number]}`;

/**
 * A Ceph cluster on one machine: one monitor, one manager, three OSDs that keep each object twice, one MDS. Each is started again when it
 * ends, and ends with this process.
 */
export class CephDaemons {
  readonly #options: CephOptions;
  readonly #programs: CephPrograms;
  readonly #daemons = new Map<CephDaemon, DaemonProcess>();
  /** As client.admin. */
  #rados: Rados | undefined;

  private constructor(options: CephOptions, programs: CephPrograms) {
    this.#options = options;
    this.#programs = programs;
  }

  /**
   * Makes the cluster when there is none in the directory, starts it, and resolves when its filesystem can be mounted. Fails with
   * `program_missing` when not all of Ceph is here.
   */
  static async start(options: CephOptions): Promise<CephDaemons> {
    const ceph = new CephDaemons(options, await findCephPrograms());
    try {
      const what = `starting Ceph (logs: ${join(options.directory, 'log')})`;
      await withDeadline(options.clock, START_TIMEOUT_MS, what, undefined, (signal) => ceph.#start(signal));
    } catch (error) {
      await ceph.stop();
      throw error;
    }
    return ceph;
  }

  get rados(): Rados {
    if (this.#rados === undefined) throw new Error('Ceph is not running');
    return this.#rados;
  }

  get described(): readonly { readonly name: CephDaemon; readonly pid: number | null }[] {
    return [...this.#daemons].map(([name, daemon]) => ({ name, pid: daemon.pid ?? null }));
  }

  /** Makes a client with these capabilities, or leaves the one that there is; writes its key to a file of mode 0600. */
  async makeClient(name: string, capabilities: Readonly<Record<string, string>>, path: string): Promise<void> {
    const caps = Object.entries(capabilities).flat();
    const request = { prefix: 'auth get-or-create', entity: name, caps, format: 'plain' };
    await writeFileDurably(path, await this.rados.monCommand(request), 0o600);
  }

  /** Kills a daemon and leaves it dead. */
  async halt(name: CephDaemon): Promise<void> {
    await this.#daemons.get(name)?.halt();
  }

  /** Starts a daemon again that was halted. */
  async resume(name: CephDaemon): Promise<void> {
    await this.#daemons.get(name)?.launch();
  }

  /** Kills all of them: what they answered is on disk. */
  async stop(): Promise<void> {
    await this.#rados?.close();
    this.#rados = undefined;
    await Promise.all([...this.#daemons.values()].map((daemon) => daemon.stop('SIGKILL')));
  }

  async #start(signal: AbortSignal): Promise<void> {
    const { directory, newUuid, clock } = this.#options;
    const maker = new ClusterMaker(this.#options, { newUuid, clock });
    const marker = join(directory, 'made');
    const isMade = await exists(marker);
    if (!isMade) {
      // What an interrupted start left: nobody could put anything into it yet.
      await rm(directory, { recursive: true, force: true });
      await maker.monitor();
    }
    await this.#launch('ceph-mon', 'mon.a');
    await this.#launch('ceph-mgr', 'mgr.x', ['/usr/bin/env', 'PYTHONDONTWRITEBYTECODE=1']);
    const rados = await this.#until(signal, () =>
      connectRados({
        confPath: confPath(this.#options),
        client: 'client.admin',
        keyringPath: keyringPath(this.#options, 'client.admin'),
      }),
    );
    this.#rados = rados;
    if (!isMade) await maker.storage(rados);
    for (const id of OSDS) await this.#launch('ceph-osd', `osd.${id}`);
    // The map has the one that was killed as active until the new one says that it is there.
    const before = isMade ? await activeMds(rados) : undefined;
    await this.#launch('ceph-mds', 'mds.a');
    if (!isMade) await maker.pools(rados);
    await this.#until(signal, async () => {
      const now = await activeMds(rados);
      if (now === undefined || now === before) throw new Error('no MDS is active yet');
    });
    if (isMade) return;
    await maker.rootDirectory(POOL_ROOT);
    await writeFileDurably(marker, '', 0o600);
  }

  /** In the foreground, so that its pid is known and it ends with this process. */
  async #launch(program: CephProgram, name: CephDaemon, before: readonly string[] = []): Promise<void> {
    const { directory, clock, random, onStart } = this.#options;
    const id = name.slice(name.indexOf('.') + 1);
    const daemon = new DaemonProcess({
      ...{ name, clock, random, onStart },
      command: [...BOUND_TO_US, ...before, this.#programs[program], '-f', '-c', confPath(this.#options), '-i', id],
      logPath: join(directory, 'log', `${name}.out`),
    });
    this.#daemons.set(name, daemon);
    await daemon.launch();
  }

  /** Tries until it works. */
  async #until<T>(signal: AbortSignal, attempt: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await attempt();
      } catch {
        await pause(this.#options.clock, LOOK_AGAIN_MS, signal);
      }
    }
  }
}

/** Number of the MDS that is active, which each process gets anew; undefined when none is. */
async function activeMds(rados: Rados): Promise<number | undefined> {
  const { filesystems } = JSON.parse(await rados.monCommand({ prefix: 'fs dump' })) as {
    filesystems: { mdsmap: { info: Record<string, { gid: number; state: string }> } }[];
  };
  const all = Object.values(filesystems[0]?.mdsmap.info ?? {});
  return all.find(({ state }) => state === 'up:active')?.gid;
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
