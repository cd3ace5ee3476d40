import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chown, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { callIsolator, type LaunchReply, type Reply } from '../../src/frontends/isolator/testing/isolator-bench.ts';
import { eventually } from '../e2e/support/eventually.ts';

interface ContainerIdJson {
  readonly value: string;
  readonly parent?: ContainerIdJson;
}

export interface Task {
  readonly command: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Uid and gid that it runs as; root unless given. */
  readonly uid?: number;
  /** Name of the user, as Mesos has it. */
  readonly user?: string;
  readonly role?: string;
  /** Directory of a provisioned image. */
  readonly rootfs?: string;
  /** For a nested container. */
  readonly parent?: Container;
  /** Done in the sandbox before the isolator is asked. */
  readonly inSandbox?: (sandbox: string) => Promise<unknown>;
}

/** A container that runs. */
export interface Container {
  readonly id: ContainerIdJson;
  readonly sandbox: string;
  readonly pid: number;
  /** How its process ended; the isolator has been told then. */
  readonly ended: Promise<{ readonly status: number | null; readonly stdout: string; readonly stderr: string }>;
  kill(): void;
}

/** A task that Mesos would report as TASK_FAILED, with the message that a user sees. */
export class TaskFailed extends Error {
  override readonly name = 'TaskFailed';
}

const CLONE_NEWNS = 0x20000;
const ANSWER_TIMEOUT_MS = 60_000;

/** What Mesos's launch helper does in the new mount namespace before it becomes the task. */
const HELPER = `
set -e
rootfs=$1 sandbox=$2 ids=$3 command=$4 count=$5
shift 5
read -r go <&3
[ "$go" = go ]
exec 3<&-
if [ -n "$rootfs" ]; then
  mkdir -p "$rootfs/mnt/mesos/sandbox"
  mount --no-mtab --rbind "$rootfs" "$rootfs"
  mount --no-mtab --rbind "$sandbox" "$rootfs/mnt/mesos/sandbox"
fi
while [ "$count" -gt 0 ]; do
  mkdir -p -- "$2"
  mount --no-mtab --rbind -- "$1" "$2"
  if [ $(($3 & 1)) = 1 ]; then mount --no-mtab -o remount,bind,ro -- "$2"; fi
  shift 3
  count=$((count - 1))
done
if [ -n "$rootfs" ]; then
  exec chroot --userspec="$ids:$ids" "$rootfs" /bin/sh -c 'cd /mnt/mesos/sandbox && eval "$0"' "$command"
fi
cd "$sandbox"
exec setpriv --reuid="$ids" --regid="$ids" --clear-groups sh -c "$command"
`;

/**
 * Stands for a Mesos agent with the isolator's module: calls in the order of the containerizer (recover, prepare, fork,
 * watch, isolate, exec, cleanup), mounts in new namespaces as its launch helper, and tells the daemon again what was lost.
 */
export class MesosAgent {
  readonly #socketPath: string;
  readonly #workDirectory: string;
  readonly #living = new Map<string, Container | undefined>();
  readonly #ids = new Map<string, ContainerIdJson>();
  #untold = false;

  constructor(socketPath: string, workDirectory: string) {
    this.#socketPath = socketPath;
    this.#workDirectory = workDirectory;
  }

  call(method: string, body: object): Promise<Reply> {
    return callIsolator(this.#socketPath, method, body, AbortSignal.timeout(ANSWER_TIMEOUT_MS));
  }

  /** Starts a task. Fails with {@link TaskFailed} when the isolator does not let it. */
  async launch(task: Task): Promise<Container> {
    const id: ContainerIdJson = {
      value: randomUUID(),
      ...(task.parent === undefined ? {} : { parent: task.parent.id }),
    };
    const sandbox =
      task.parent === undefined
        ? join(this.#workDirectory, 'runs', id.value)
        : join(task.parent.sandbox, 'containers', id.value);
    await mkdir(sandbox, { recursive: true, mode: 0o750 });
    await chown(sandbox, task.uid ?? 0, task.uid ?? 0);
    await task.inSandbox?.(sandbox);
    if (this.#untold) await this.settle();
    this.#ids.set(id.value, id);
    this.#living.set(id.value, undefined);
    const launch = await this.#prepare(id, sandbox, task).catch(async (error: unknown) => {
      await this.#cleanup(id);
      throw error;
    });
    const container = this.#fork(id, sandbox, task, launch);
    this.#living.set(id.value, container.container);
    await this.call('isolate', { container_id: id, pid: container.container.pid }).catch(() => undefined);
    container.go();
    return container.container;
  }

  /** Runs a task to its end. */
  async run(task: Task): Promise<{ status: number | null; stdout: string; stderr: string }> {
    return (await this.launch(task)).ended;
  }

  /** What the agent asks when it comes back: all living containers, and orphans that get their cleanup later. */
  recover(orphans: readonly Container[] = []): Promise<Reply> {
    const lost = new Set(orphans.map(({ id }) => id.value));
    const states = [...this.#living.keys()].filter((value) => !lost.has(value));
    return this.call('recover', {
      states: states.map((value) => ({
        container_id: this.#ids.get(value),
        pid: this.#living.get(value)?.pid ?? 0,
        directory: this.#living.get(value)?.sandbox ?? '',
      })),
      orphans: orphans.map(({ id }) => id),
    });
  }

  /** Tells the daemon which containers live until it has heard it, as the module does after a message was lost. */
  async settle(): Promise<void> {
    await eventually(async () => {
      const { status, body } = await this.recover();
      if (status !== 200) throw new Error(JSON.stringify(body));
    }, 20_000);
    this.#untold = false;
  }

  /** As if the container ended while nobody of Mesos was there to notice: no cleanup, and not in the next `recover`. */
  forget(container: Container): void {
    this.#living.delete(container.id.value);
  }

  async #prepare(id: ContainerIdJson, sandbox: string, task: Task): Promise<Partial<LaunchReply>> {
    const variables = Object.entries(task.environment).map(([name, value]) => ({ name, type: 'VALUE', value }));
    const { status, body } = await this.call('prepare', {
      container_id: id,
      container_config: {
        container_class: 'DEFAULT',
        directory: sandbox,
        user: task.user ?? 'root',
        ...(task.rootfs === undefined ? {} : { rootfs: task.rootfs }),
        command_info: { environment: { variables } },
        executor_info: { framework_id: { value: 'framework' }, executor_id: { value: 'executor' } },
        resources: [{ allocation_info: { role: task.role ?? '*' } }],
      },
      sandbox_directory: '/mnt/mesos/sandbox',
      timeout_ms: 50_000,
    });
    if (status !== 200) throw new TaskFailed((body as { message: string }).message);
    return body as Partial<LaunchReply>;
  }

  #fork(
    id: ContainerIdJson,
    sandbox: string,
    task: Task,
    launch: Partial<LaunchReply>,
  ): { container: Container; go: () => void } {
    const mounts = launch.mounts ?? [];
    const namespaces = launch.clone_namespaces?.includes(CLONE_NEWNS) === true || task.rootfs !== undefined;
    const parts = mounts.flatMap(({ source, target, flags }) => [source, target, String(flags)]);
    const ids = String(task.uid ?? 0);
    const program = [
      'sh',
      '-c',
      HELPER,
      'helper',
      task.rootfs ?? '',
      sandbox,
      ids,
      task.command,
      String(mounts.length),
    ];
    const unshare = namespaces ? ['unshare', '--mount', '--propagation', 'slave', '--'] : ['env'];
    const [file = '', ...args] = [...unshare, ...program, ...parts];
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
    let [stdout, stderr] = ['', ''];
    child.stdout?.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const ended = new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    }).then(async (status) => {
      if (this.#living.has(id.value)) await this.#cleanup(id);
      return { status, stdout, stderr };
    });
    const pipe = child.stdio[3] as Writable;
    pipe.on('error', () => undefined);
    return {
      container: { id, sandbox, pid: child.pid ?? 0, ended, kill: () => child.kill('SIGKILL') },
      go: () => pipe.end('go\n'),
    };
  }

  /** Never fails; what the daemon did not hear it is told by `settle`. */
  async #cleanup(id: ContainerIdJson): Promise<void> {
    this.#living.delete(id.value);
    const answered = await this.call('cleanup', { container_id: id }).then(
      ({ status }) => status === 200,
      () => false,
    );
    if (!answered) this.#untold = true;
  }
}
