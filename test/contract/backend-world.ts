import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once, setMaxListeners } from 'node:events';
import { mkdtemp, readdir, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { it } from 'vitest';
import type { Backend } from '../../src/agent/backends/backend.ts';
import { openBackend } from '../../src/agent/backends/open-backend.ts';
import { teardownNode } from '../../src/agent/backends/teardown.ts';
import { readMountTable } from '../../src/agent/host/mount-table.ts';
import { systemClock } from '../../src/kit/clock.ts';
import { errorCode } from '../../src/kit/coded-error.ts';
import { startDeadline } from '../../src/kit/deadline.ts';

const run = promisify(execFile);
const TEARDOWN_MS = 40_000;
const COMPILED = new URL('../../dist/src/agent/backends/open-backend.js', import.meta.url).href;

/** Where a world's pool is. */
export interface WorldPlace {
  /** The directory with `unattached`, `attached` and so on. */
  readonly rootPath: string;
  /** How the `dataset` section says so. */
  readonly section: Readonly<Record<string, unknown>>;
}

/** What of the suite is left out where it takes long and has been played already. */
export interface Thrift {
  /** Of the times after which agents are killed each so many, and so many times as long, as steps take longer. */
  readonly kills?: { readonly every: number; readonly stretch: number };
  /** Another subject has the same pool in the same way; what never comes to the bytes of a volume is played there. */
  readonly poolIsCovered?: boolean;
}

/** Makes tests of what is the pool's alone; not there, instead of skipped, where another subject has them. */
export function testsOfPool({ poolIsCovered }: Thrift): (name: string, test: () => Promise<void>) => void {
  return poolIsCovered === true ? () => undefined : (name, test) => it(name, test);
}

/** After how many milliseconds agents are killed. */
export function killsOf({ kills }: Thrift, afterMs: readonly number[]): readonly number[] {
  const { every, stretch } = kills ?? { every: 1, stretch: 1 };
  return afterMs.filter((_, index) => index % every === 0).map((ms) => ms * stretch);
}

const plainPlace = (directory: string): WorldPlace => {
  const rootPath = join(directory, 'pool');
  return { rootPath, section: { root_path: rootPath } };
};

/** One pool in a directory of its own, nodes that use it, and processes that get in the way. */
export class BackendWorld {
  readonly directory: string;
  readonly rootPath: string;
  readonly #section: Readonly<Record<string, unknown>>;
  readonly #children = new Set<ChildProcess>();
  readonly #started = new Set<string>();
  /** Longer than any test takes; a hung step then fails instead of hanging the suite. */
  readonly #deadline = startDeadline(systemClock, 120_000, 'the test');

  private constructor(directory: string, section: Readonly<Record<string, unknown>>, place: WorldPlace) {
    this.directory = directory;
    this.rootPath = place.rootPath;
    this.#section = { ...place.section, ...section };
    // Twenty volumes at once listen to it, without a leak.
    setMaxListeners(0, this.#deadline.signal);
  }

  static async make(
    section: Readonly<Record<string, unknown>>,
    place: (directory: string) => WorldPlace = plainPlace,
  ): Promise<BackendWorld> {
    const directory = await realpath(await mkdtemp(join(tmpdir(), 'backend-')));
    return new BackendWorld(directory, section, place(directory));
  }

  get signal(): AbortSignal {
    return this.#deadline.signal;
  }

  mountRoot(instance: string): string {
    return join(this.directory, `mounts-${instance}`);
  }

  section(changes: Readonly<Record<string, unknown>> = {}): Readonly<Record<string, unknown>> {
    return { default_size: '16MiB', ...this.#section, ...changes };
  }

  /** The node as its agent finds it right after a start, before `recover`. */
  async start(instance: string, changes: Readonly<Record<string, unknown>> = {}): Promise<Backend> {
    this.#started.add(instance);
    return await openBackend(this.section(changes), { mountRoot: this.mountRoot(instance), instance });
  }

  async node(instance: string, changes: Readonly<Record<string, unknown>> = {}): Promise<Backend> {
    const backend = await this.start(instance, changes);
    await backend.recover();
    return backend;
  }

  /** Starts a process and waits until it has written its first line; it is killed when the world ends. */
  async hold(command: string, parameters: readonly string[]): Promise<ChildProcess & { readonly pid: number }> {
    const child = spawn(command, parameters, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#children.add(child);
    const ended = once(child, 'exit').then(() => Promise.reject(new Error(`${command} ended at once`)));
    await Promise.race([once(child.stdout, 'data'), ended]);
    ended.catch(() => undefined);
    const { pid } = child;
    if (pid === undefined) throw new Error(`${command} has no pid`);
    return Object.assign(child, { pid });
  }

  /**
   * Starts a process in a mount namespace of its own, which keeps copies of the volumes that a node has mounted. Mounts of
   * other worlds, and of whatever else runs on this machine meanwhile, it lets go of with the rest of the machine.
   */
  async holdMounts(instance: string, command = 'true'): Promise<ChildProcess & { readonly pid: number }> {
    const script = `mount --make-rprivate ${this.mountRoot(instance)} && ${command} && echo in && read line`;
    return await this.hold('unshare', ['-m', '--propagation', 'slave', 'sh', '-c', script]);
  }

  async end(child: ChildProcess): Promise<void> {
    this.#children.delete(child);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  /**
   * An agent in a process of its own, to be killed. It waits for a line on stdin, then leads `datasetId` through
   * `steps`, methods of `Backend`, over and over; with each round it takes them from the start.
   */
  async agent(instance: string, datasetId: string, steps: readonly string[]): Promise<ChildProcess> {
    const script = `
      const { openBackend } = await import(${JSON.stringify(COMPILED)});
      const surroundings = ${JSON.stringify({ mountRoot: this.mountRoot(instance), instance })};
      const backend = await openBackend(${JSON.stringify(this.section())}, surroundings);
      process.stdout.write('ready\\n');
      process.stdin.once('data', async () => {
        const recipe = { datasetId: '${datasetId}', sizeBytes: null, metadata: {} };
        const signal = new AbortController().signal;
        for (;;) {
          for (const step of ${JSON.stringify(steps)}) {
            await backend[step](step === 'create' ? recipe : recipe.datasetId, signal);
          }
        }
      });`;
    return await this.hold(process.execPath, ['--input-type=module', '-e', script]);
  }

  /**
   * An agent in a process of its own that, told by a line on stdin, runs `body` with `backend` and `signal` in scope. `within`
   * are words before its command.
   */
  async agentThat(instance: string, body: string, within: readonly string[] = []): Promise<ChildProcess> {
    const script = `
      const { openBackend } = await import(${JSON.stringify(COMPILED)});
      const surroundings = ${JSON.stringify({ mountRoot: this.mountRoot(instance), instance })};
      const backend = await openBackend(${JSON.stringify(this.section())}, surroundings);
      const signal = new AbortController().signal;
      process.stdout.write('ready\\n');
      process.stdin.once('data', async () => {
        ${body}
      });`;
    this.#started.add(instance);
    const [command, ...parameters] = [...within, process.execPath, '--input-type=module', '-e', script];
    return await this.hold(command ?? '', parameters);
  }

  /** Stops a node that was started as a cluster that ends would; returns what was in the way, never fails. */
  async teardown(instance: string): Promise<readonly unknown[]> {
    if (!this.#started.has(instance)) return [];
    const untilMs = systemClock.monotonicMs() + TEARDOWN_MS;
    for (;;) {
      const problems = await this.#teardownOnce(instance);
      // A mount namespace that some other process just made has a copy of every mount for as long as it lives.
      const passes = problems.length > 0 && problems.every((problem) => errorCode(problem) === 'volume_in_use');
      if (!passes || systemClock.monotonicMs() > untilMs) return problems;
      await sleep(50);
    }
  }

  async #teardownOnce(instance: string): Promise<readonly unknown[]> {
    try {
      const backend = await this.start(instance);
      return await teardownNode({ backend, mountRoot: this.mountRoot(instance), signal: this.signal });
    } catch (error) {
      return [error];
    }
  }

  /** What a restart of the machine does: all mounts and loop devices are gone, files stay. */
  async loseMounts(): Promise<void> {
    const table = await readMountTable();
    const below = table.filter(({ mountPoint }) => mountPoint.startsWith(`${this.directory}/`));
    for (const { mountPoint } of below.toReversed()) await run('umount', [mountPoint]);
  }

  /** Mounts below this world and files of it that loop devices have, in any state. */
  async leftovers(): Promise<readonly string[]> {
    const mounts = (await readMountTable()).map(({ mountPoint }) => mountPoint);
    const files = (await this.#loopFiles()).map(({ file }) => file);
    return [...mounts.filter((path) => path.startsWith(`${this.directory}/`)), ...files];
  }

  async #loopFiles(): Promise<readonly { readonly name: string; readonly file: string }[]> {
    const loops = (await readdir('/sys/block')).filter((name) => name.startsWith('loop'));
    const devices = await Promise.all(
      loops.map(async (name) => {
        const file = await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => '');
        return { name, file: file.trim() };
      }),
    );
    return devices.filter(({ file }) => file.startsWith(`${this.directory}/`));
  }

  async #detachDevices(): Promise<void> {
    for (const { name } of await this.#loopFiles()) await run('losetup', ['--detach', `/dev/${name}`]);
  }

  /** Removes everything, also after a failed test, and returns what a healthy backend would not have left. */
  async close(): Promise<readonly string[]> {
    for (const child of this.#children) await this.end(child);
    this.#deadline.clear();
    const instances = (await readdir(this.directory)).flatMap((name) => /^mounts-(.+)$/.exec(name)?.[1] ?? []);
    const mountRoots = new Set(instances.map((instance) => this.mountRoot(instance)));
    const left = (await this.leftovers()).filter((path) => !mountRoots.has(path));
    await this.loseMounts().catch((error: unknown) => left.push(String(error)));
    const afterwards = await this.leftovers();
    await this.#detachDevices();
    await this.loseMounts();
    await rm(this.directory, { recursive: true, force: true });
    return [...left, ...afterwards];
  }
}
