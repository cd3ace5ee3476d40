import { join } from 'node:path';
import type { Clock } from '../../kit/clock.ts';
import { withDeadline } from '../../kit/deadline.ts';
import type { DaemonProcess } from './daemon-process.ts';
import type { ClusterLayout } from './layout.ts';
import { controlHosts } from './prepare-cluster.ts';
import type { ClusterSettings } from './settings.ts';

const LEAD_TIMEOUT_MS = 60_000;
/** With a backend that cuts nodes off. The shortest that there is: whoever tries it waits for it. */
export const FENCE_AFTER_SECONDS = 10;

/** Makes a daemon that is started again when it ends. */
export type MakeDaemon = (
  name: string,
  logPath: string,
  args: readonly string[],
  onReady?: () => void,
) => DaemonProcess;

/** The control services of a cluster on one machine: one with a store on disk, or any number that take turns, with etcd. */
export class ControlProcesses {
  readonly #layout: ClusterLayout;
  readonly #settings: ClusterSettings;
  readonly #make: MakeDaemon;
  #daemons: readonly DaemonProcess[] = [];

  constructor(layout: ClusterLayout, settings: ClusterSettings, make: MakeDaemon) {
    this.#layout = layout;
    this.#settings = settings;
    this.#make = make;
  }

  /** Of the REST API of each. */
  get urls(): string[] {
    return controlHosts(this.#settings).map((host) => `https://${host}:${this.#settings.restPort}`);
  }

  get described(): { readonly url: string; readonly pid: number | null }[] {
    return this.urls.map((url, index) => ({ url, pid: this.#daemons[index]?.pid ?? null }));
  }

  /** Resolves when one of them serves. `storeUrl` is that of etcd. */
  async start(clock: Clock, storeUrl: string | undefined): Promise<void> {
    const { controlData, logs } = this.#layout;
    if (storeUrl === undefined) {
      const log = join(logs, 'control.log');
      const only = this.#make('control service', log, this.#arguments('127.0.0.1', ['--data-path', controlData]));
      this.#daemons = [only];
      await only.start();
      return;
    }
    await withDeadline(clock, LEAD_TIMEOUT_MS, `waiting for a control service (logs: ${logs})`, undefined, async () => {
      await new Promise<void>((resolve, reject) => {
        this.#daemons = controlHosts(this.#settings).map((host, index) =>
          this.#make(
            `control service ${index + 1}`,
            join(logs, index === 0 ? 'control.log' : `control${index + 1}.log`),
            this.#arguments(host, ['--store', storeUrl]),
            resolve,
          ),
        );
        Promise.all(this.#daemons.map((daemon) => daemon.launch())).catch(reject);
      });
    });
  }

  async stop(): Promise<void> {
    await Promise.all(this.#daemons.map((daemon) => daemon.stop()));
  }

  #arguments(host: string, store: readonly string[]): string[] {
    const endpoint = (port: number): string => `tcp:${port}:interface=${host}`;
    const { restPort, agentsPort, backend } = this.#settings;
    return [
      ...['control', ...store, '--certificates-directory', this.#layout.controlCertificates],
      ...['--port', endpoint(restPort), '--agent-port', endpoint(agentsPort)],
      ...(backend === 'ceph' ? ['--fence-after', String(FENCE_AFTER_SECONDS)] : []),
    ];
  }
}
