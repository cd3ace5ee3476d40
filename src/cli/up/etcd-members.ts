import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { BOUND_TO_US, findProgram, SYSTEM_ENVIRONMENT } from '../../agent/host/run-program.ts';
import { type Clock, pause } from '../../kit/clock.ts';
import { withDeadline } from '../../kit/deadline.ts';
import { DaemonProcess, type DaemonProcessOptions } from './daemon-process.ts';
import type { ClusterLayout } from './layout.ts';
import type { EtcdPorts } from './settings.ts';

const ETCD = { name: 'etcd', debianPackage: 'etcd-server' } as const;
const START_TIMEOUT_MS = 30_000;
const LOOK_AGAIN_MS = 50;
const ANSWER_TIMEOUT_MS = 2_000;

/** An etcd of one or more members on the loopback address, of a cluster on one machine. It ends with this process. */
export class EtcdMembers {
  readonly #members: readonly DaemonProcess[];
  readonly #urls: readonly string[];

  private constructor(members: readonly DaemonProcess[], urls: readonly string[]) {
    this.#members = members;
    this.#urls = urls;
  }

  /** Starts all members and resolves when the majority answers. Fails with `program_missing` when there is no etcd here. */
  static async start(
    layout: ClusterLayout,
    ports: readonly EtcdPorts[],
    options: Pick<DaemonProcessOptions, 'clock' | 'random' | 'onStart'>,
  ): Promise<EtcdMembers> {
    const program = await findProgram(ETCD, SYSTEM_ENVIRONMENT.PATH);
    await mkdir(layout.etcd, { recursive: true, mode: 0o700 });
    const urls = ports.map(({ client }) => `http://127.0.0.1:${client}`);
    const members = ports.map(
      (_, index) =>
        new DaemonProcess({
          ...options,
          name: `member ${index + 1} of etcd`,
          command: [...BOUND_TO_US, program, ...memberArguments(layout, ports, index)],
          logPath: join(layout.logs, `etcd${index + 1}.log`),
        }),
    );
    const etcd = new EtcdMembers(members, urls);
    try {
      for (const member of members) await member.launch();
      await etcd.#answers(options.clock, layout.logs);
    } catch (error) {
      await etcd.stop();
      throw error;
    }
    return etcd;
  }

  /** As `flocker control --store` takes it. */
  get storeUrl(): string {
    return `etcd://${this.#urls.map((url) => new URL(url).host).join(',')}`;
  }

  get described(): readonly { readonly url: string; readonly pid: number | null }[] {
    return this.#urls.map((url, index) => ({ url, pid: this.#members[index]?.pid ?? null }));
  }

  /** Kills them: all that they answered is on disk. Asked to end, the last one would for seconds look for another to lead. */
  async stop(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.stop('SIGKILL')));
  }

  /** Resolves when a read that the majority confirms is answered. */
  async #answers(clock: Clock, logs: string): Promise<void> {
    await withDeadline(clock, START_TIMEOUT_MS, `starting etcd (logs: ${logs})`, undefined, async (signal) => {
      for (;;) {
        for (const url of this.#urls) if (await readsFrom(url)) return;
        await pause(clock, LOOK_AGAIN_MS, signal);
      }
    });
  }
}

async function readsFrom(url: string): Promise<boolean> {
  const body = JSON.stringify({ key: 'eA==' });
  const until = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
  const answer = await fetch(`${url}/v3/kv/range`, { method: 'POST', body, signal: until }).catch(() => undefined);
  return answer?.status === 200;
}

function memberArguments(layout: ClusterLayout, ports: readonly EtcdPorts[], index: number): string[] {
  const peers = ports.map(({ peer }) => `http://127.0.0.1:${peer}`);
  const [client, peer] = [`http://127.0.0.1:${ports[index]?.client ?? 0}`, peers[index] ?? ''];
  const all = peers.map((each, at) => `m${at + 1}=${each}`).join(',');
  return [
    ...['--name', `m${index + 1}`, '--data-dir', join(layout.etcd, `m${index + 1}`)],
    ...['--listen-client-urls', client, '--advertise-client-urls', client],
    ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', all],
    ...['--logger', 'zap', '--log-level', 'warn'],
  ];
}
