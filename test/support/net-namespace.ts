import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A network namespace that reaches this machine by one link, which can be cut. */
export class NetNamespace {
  readonly name: string;
  /** This machine's address on the link. */
  readonly hostIp: string;
  readonly #link: string;

  private constructor(name: string, link: string, hostIp: string) {
    this.name = name;
    this.#link = link;
    this.hostIp = hostIp;
  }

  static async make(): Promise<NetNamespace> {
    const id = randomBytes(3);
    const text = id.toString('hex');
    const [name, link, inner] = [`flocker-${text}`, `fl${text}`, `fi${text}`];
    const net = `10.${200 + ((id[0] ?? 0) % 50)}.${id[1] ?? 0}`;
    const made = new NetNamespace(name, link, `${net}.1`);
    await run('ip', ['netns', 'add', name]);
    try {
      await run('ip', ['link', 'add', link, 'type', 'veth', 'peer', 'name', inner, 'netns', name]);
      await run('ip', ['addr', 'add', `${net}.1/24`, 'dev', link]);
      await made.heal();
      await run('ip', ['-n', name, 'addr', 'add', `${net}.2/24`, 'dev', inner]);
      for (const device of [inner, 'lo']) await run('ip', ['-n', name, 'link', 'set', device, 'up']);
    } catch (error) {
      await made.remove();
      throw error;
    }
    return made;
  }

  /** Words before a command that run it in the namespace, with the mounts of this machine. */
  get enter(): readonly [string, ...string[]] {
    return ['nsenter', `--net=/run/netns/${this.name}`];
  }

  /** What is sent from now on arrives nowhere. */
  async cut(): Promise<void> {
    await run('ip', ['link', 'set', this.#link, 'down']);
  }

  async heal(): Promise<void> {
    await run('ip', ['link', 'set', this.#link, 'up']);
  }

  /** The link goes with it. */
  async remove(): Promise<void> {
    await run('ip', ['link', 'del', this.#link]).catch(() => undefined);
    await run('ip', ['netns', 'del', this.name]);
  }
}
