import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';

/** A process and the mount namespace it was in, told apart from any later ones with the same numbers. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks between boot and its start, as /proc has it. */
  readonly startTicks: string;
  /** As the link in /proc: `mnt:[4026531841]`. */
  readonly mountNamespace: string;
  readonly bootId: string;
  /** It was in a mount namespace other than ours. */
  readonly apart: boolean;
}

/** The processes of this machine, as /proc shows them. */
export class ProcessTable {
  readonly #root: string;

  constructor(root = '/proc') {
    this.#root = root;
  }

  /** The process that has this pid now; undefined when there is none, or nothing but its zombie. */
  async identify(pid: number): Promise<ProcessIdentity | undefined> {
    const [startTicks, mountNamespace, own, bootId] = await Promise.all([
      this.#startTicks(pid),
      this.#mountNamespace(String(pid)),
      this.#mountNamespace('self'),
      this.#bootId(),
    ]);
    if (startTicks === undefined || mountNamespace === undefined) return undefined;
    return { pid, startTicks, mountNamespace, bootId, apart: mountNamespace !== own };
  }

  /**
   * Processes that keep alive what this one was started for: itself, and all in its mount namespace when that is not ours.
   * Zombies have left their namespaces and do not count.
   */
  async companions(identity: ProcessIdentity): Promise<number[]> {
    if ((await this.#bootId()) !== identity.bootId) return [];
    const present = await this.identify(identity.pid);
    const itself = present !== undefined && present.startTicks === identity.startTicks ? [identity.pid] : [];
    if (!identity.apart) return itself;
    const pids = (await readdir(this.#root)).filter((name) => /^\d+$/.test(name));
    const namespaces = await Promise.all(pids.map((pid) => this.#mountNamespace(pid)));
    const there = pids.filter((_, index) => namespaces[index] === identity.mountNamespace).map(Number);
    return [...new Set([...itself, ...there])];
  }

  async #startTicks(pid: number): Promise<string | undefined> {
    const text = await readFile(join(this.#root, String(pid), 'stat'), 'utf8').catch(() => '');
    // The name in parentheses may hold anything, also parentheses and spaces; field 22 is the 20th after it.
    return text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .at(19);
  }

  #mountNamespace(pid: string): Promise<string | undefined> {
    return readlink(join(this.#root, pid, 'ns', 'mnt')).catch(() => undefined);
  }

  async #bootId(): Promise<string> {
    return (await readFile(join(this.#root, 'sys/kernel/random/boot_id'), 'utf8')).trim();
  }
}
