import { access, mkdir, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../../../kit/coded-error.ts';
import type { Kernel } from '../../host/kernel.ts';
import { type MountEntry, mountsAt, readMountTable } from '../../host/mount-table.ts';
import { StorageUserSearch } from '../../host/storage-users.ts';
import { BackendError } from '../backend.ts';
import type { ClientRegister, RegisteredClient } from './client-register.ts';
import type { Fence } from './fence.ts';
import type { FuseProcess, FuseProcesses, StartedProcess } from './fuse-processes.ts';

/** What is mounted on this machine, and where. */
export interface MountPlace {
  /** Dataset id, or `pool`. */
  readonly what: string;
  readonly mountPoint: string;
}

/** Starts the process that serves a mount. */
export type StartServer = (mountPoint: string, signal: AbortSignal) => Promise<StartedProcess>;

export interface FuseMountsParts {
  readonly kernel: Kernel;
  readonly processes: FuseProcesses;
  readonly register: ClientRegister;
  readonly fence: Fence;
  /** Where it is noted which processes are registered, so that a look at a mount asks nobody. */
  readonly notesDirectory: string;
}

/** `ceph-fuse` gives back what it had locked once a second, and ends then. */
const END_TIMEOUT_MS = 2_000;
/** Writing back what is cached; it also sleeps for 5 s where it missed its wakeup. */
const WRITE_BACK_TIMEOUT_MS = 20_000;
const KILLED_TIMEOUT_MS = 10_000;

/**
 * Mounts that outlive the agent. Each has a process of its own that serves it: it ends with the last mount of it in any mount namespace
 * and the last open file, so that where it has ended nothing can write, and all that was written is in the cluster.
 */
export class FuseMounts {
  readonly #parts: FuseMountsParts;
  readonly #users = new StorageUserSearch();

  constructor(parts: FuseMountsParts) {
    this.#parts = parts;
  }

  /** Whether it is mounted by a process that was registered and is not cut off. */
  async isLive(mountPoint: string, table: readonly MountEntry[]): Promise<boolean> {
    if (mountsAt(table, mountPoint).length === 0) return false;
    return (await this.#live(await this.#parts.processes.at(mountPoint))).length > 0;
  }

  /**
   * Mounts it, unless that has been done. The client is registered and `confirm` has resolved before the process completes what it serves,
   * if anything is left to do; where any of that fails it is taken away again.
   */
  async mount(
    { what, mountPoint }: MountPlace,
    start: StartServer,
    signal: AbortSignal,
    confirm: () => Promise<void> = async () => undefined,
  ): Promise<void> {
    if (await this.isLive(mountPoint, await readMountTable())) return;
    const { register } = this.#parts;
    await this.clear({ what, mountPoint }, signal);
    await mkdir(mountPoint, { mode: 0o700 }).catch((error: unknown) => {
      if (errorCode(error) !== 'EEXIST') throw error;
    });
    const process = await start(mountPoint, signal);
    try {
      await register.add(process.token, registered(what, process));
      await confirm();
      await process.complete?.();
      await writeFile(this.#note(process.token), '');
      await process.release?.();
    } catch (error) {
      await this.#end({ what, mountPoint }, [process], signal);
      throw error;
    }
  }

  /** Resolves when nothing can write through it any more and all that was written is in the cluster. */
  async unmount({ what, mountPoint }: MountPlace, signal: AbortSignal): Promise<void> {
    const { processes: fuse, kernel, register } = this.#parts;
    const before = await fuse.at(mountPoint);
    const live = await this.#live(before);
    if (live.length < before.length) {
      await this.#end(
        { what, mountPoint },
        before.filter((process) => !live.includes(process)),
        signal,
      );
    }
    const table = await readMountTable();
    const mounted = mountsAt(table, mountPoint).at(-1);
    for (const _ of mountsAt(table, mountPoint)) {
      try {
        await kernel.unmount(mountPoint);
      } catch (error) {
        if (errorCode(error) !== 'EBUSY') throw error;
        throw await this.#inUse(what, mountPoint, mounted?.device ?? null, mountPoint);
      }
    }
    await this.#awaitEnd({ what, mountPoint }, () => stillTheSame(mounted, table), signal);
    const tokens = before.map(({ token }) => token);
    await this.#forget(tokens);
    await register.remove(tokens);
    // Of one that was killed the cluster keeps what it had locked.
    await this.clear({ what, mountPoint }, signal);
    await rmdir(mountPoint).catch((error: unknown) => {
      if (errorCode(error) !== 'ENOENT') throw error;
    });
  }

  /** Runs `work` with what a process serves that nobody mounts, registered meanwhile; resolves when the process has ended as well. */
  async whileServed(
    place: MountPlace,
    start: StartServer,
    signal: AbortSignal,
    work: () => Promise<void>,
  ): Promise<void> {
    const { processes, register } = this.#parts;
    await this.clear(place, signal);
    const process = await start(place.mountPoint, signal);
    try {
      await register.add(process.token, registered(place.what, process));
      await process.complete?.();
      await work();
      await process.release?.();
      await this.#awaitEnd(place, async () => null, signal);
    } catch (error) {
      processes.kill(process);
      await this.clear(place, new AbortController().signal);
      throw error;
    }
    await register.remove([process.token]);
  }

  async #awaitEnd(
    { what, mountPoint }: MountPlace,
    deviceNow: () => Promise<string | null>,
    signal: AbortSignal,
  ): Promise<void> {
    const { processes: fuse } = this.#parts;
    const ended = async (timeoutMs: number): Promise<boolean> =>
      (await fuse.ended(await fuse.at(mountPoint), timeoutMs, signal)).length === 0;
    if (await ended(END_TIMEOUT_MS)) return;
    const device = await deviceNow();
    const users = device === null ? [] : await this.#users.find({ device, innerPath: '/' });
    if (users.length === 0 && (await ended(WRITE_BACK_TIMEOUT_MS))) return;
    throw await this.#inUse(what, mountPoint, device, null);
  }

  /** Whether a process serves it still, mounted here or not. */
  async isServed(mountPoint: string): Promise<boolean> {
    return (await this.#parts.processes.at(mountPoint)).length > 0;
  }

  /** Takes away all mounts that the cluster has cut off. Who uses them gets errors already. */
  async clearCutOff(): Promise<void> {
    const { processes: fuse } = this.#parts;
    const signal = new AbortController().signal;
    const processes = await fuse.running();
    const states = await Promise.all(processes.map((process) => fuse.status(process)));
    for (const process of processes.filter((_, index) => states[index]?.isCutOff === true)) {
      const { mountPoint } = process;
      await this.#end({ what: mountPoint, mountPoint }, [process], signal);
      await rmdir(mountPoint).catch(() => undefined);
    }
  }

  /** Takes away what is left of mounts that are not live, here and in the cluster. */
  async clear({ what, mountPoint }: MountPlace, signal: AbortSignal): Promise<void> {
    const { processes: fuse, register, fence } = this.#parts;
    const processes = await fuse.at(mountPoint);
    const live = await this.#live(processes);
    await this.#end(
      { what, mountPoint },
      processes.filter((process) => !live.includes(process)),
      signal,
    );
    const running = new Set((await fuse.running()).map(({ token }) => token));
    const left = [...(await register.own())].filter(([token, { mounted }]) => mounted === what && !running.has(token));
    // The cluster keeps for a minute what a client that ended without a word had locked.
    await fence.clients(left.map(([, { address }]) => address));
    await register.remove(left.map(([token]) => token));
    await this.#forget(left.map(([token]) => token));
  }

  /** Kills processes whose mounts nobody may use, and takes their mounts away. */
  async #end({ mountPoint }: MountPlace, processes: readonly FuseProcess[], signal: AbortSignal): Promise<void> {
    const { processes: fuse, kernel } = this.#parts;
    for (const process of processes) fuse.kill(process);
    if ((await fuse.ended(processes, KILLED_TIMEOUT_MS, signal)).length > 0) {
      throw new Error(`what serves ${mountPoint} does not end; look for I/O errors in the kernel log`);
    }
    await this.#forget(processes.map(({ token }) => token));
    if ((await fuse.at(mountPoint)).length > 0) return;
    for (const _ of mountsAt(await readMountTable(), mountPoint)) {
      await kernel.unmount(mountPoint).catch(async (error: unknown) => {
        if (errorCode(error) !== 'EBUSY') throw error;
        await kernel.abandon(mountPoint);
      });
    }
  }

  async #live(processes: readonly FuseProcess[]): Promise<readonly FuseProcess[]> {
    const are = await Promise.all(
      processes.map(async (process) => {
        if (!(await isFile(this.#note(process.token)))) return false;
        // One that does not answer waits for the cluster.
        return (await this.#parts.processes.status(process))?.isCutOff !== true;
      }),
    );
    return processes.filter((_, index) => are[index] === true);
  }

  async #forget(tokens: readonly string[]): Promise<void> {
    await Promise.all(tokens.map((token) => rm(this.#note(token), { force: true })));
  }

  async #inUse(what: string, mountPoint: string, device: string | null, except: string | null): Promise<BackendError> {
    const found = device === null ? [] : await this.#users.find({ device, innerPath: '/' });
    const texts = found
      .filter((user) => user.mountPoint === null || user.mountPoint !== except)
      .map(({ text }) => text);
    const who =
      texts.join(', ') || 'something that is not visible to the agent, or is being written to the cluster still';
    const text = `${what === 'pool' ? 'the pool' : `volume ${what}`} is still in use: ${mountPoint} is held by ${who}; end that, then it unmounts by itself`;
    return new BackendError('volume_in_use', text);
  }

  #note(token: string): string {
    return join(this.#parts.notesDirectory, `${token}.registered`);
  }
}

/**
 * The device of a mount that was just taken away, for whoever has it mounted elsewhere. Null when the kernel has given its number to a new
 * filesystem, as it does with the next one that is mounted: then nobody has it.
 */
async function stillTheSame(mounted: MountEntry | undefined, before: readonly MountEntry[]): Promise<string | null> {
  if (mounted === undefined) return null;
  // Numbers of mounts are given again as well.
  const known = new Set(before.map(({ id, mountPoint }) => `${id} ${mountPoint}`));
  const now = await readMountTable();
  const isNew = ({ id, mountPoint }: MountEntry): boolean => !known.has(`${id} ${mountPoint}`);
  return now.some((entry) => entry.device === mounted.device && isNew(entry)) ? null : mounted.device;
}

function registered(what: string, { address, isOfImage = false }: StartedProcess): RegisteredClient {
  return { mounted: what, address, ...(isOfImage ? { isOfImage } : {}) };
}

async function isFile(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
