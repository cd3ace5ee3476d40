import type { NewUuid } from '../../kit/ids.ts';
import { CephDaemons } from './ceph/ceph-daemons.ts';
import { cephUser, NODE_CAPABILITIES } from './ceph/node-access.ts';
import type { DaemonProcessOptions } from './daemon-process.ts';
import { EtcdMembers } from './etcd-members.ts';
import type { ClusterLayout } from './layout.ts';
import type { ClusterSettings } from './settings.ts';

type EngineOptions = Pick<DaemonProcessOptions, 'clock' | 'random' | 'onStart'> & { readonly newUuid: NewUuid };

/** What is run beside a cluster on one machine: an etcd for its records, a Ceph for its volumes, or neither. */
export class Engines {
  #etcd: EtcdMembers | undefined;
  #ceph: CephDaemons | undefined;

  /** Starts those that the settings name and resolves when they can be used. Fails with `program_missing` when one is not installed. */
  static async start(layout: ClusterLayout, settings: ClusterSettings, options: EngineOptions): Promise<Engines> {
    const engines = new Engines();
    try {
      await engines.#start(layout, settings, options);
    } catch (error) {
      await engines.stop();
      throw error;
    }
    return engines;
  }

  /** As `flocker control --store` takes it; undefined when the store is a directory. */
  get storeUrl(): string | undefined {
    return this.#etcd?.storeUrl;
  }

  get described(): Partial<{ etcd: EtcdMembers['described']; ceph: CephDaemons['described'] }> {
    return {
      ...(this.#etcd === undefined ? {} : { etcd: this.#etcd.described }),
      ...(this.#ceph === undefined ? {} : { ceph: this.#ceph.described }),
    };
  }

  async stop(): Promise<void> {
    await this.#etcd?.stop();
    await this.#ceph?.stop();
  }

  async #start(layout: ClusterLayout, { etcd, ceph, nodes }: ClusterSettings, options: EngineOptions): Promise<void> {
    if (ceph !== undefined) {
      const place = { directory: layout.ceph, ip: '127.0.0.1', monitor: ceph };
      this.#ceph = await CephDaemons.start({ ...place, ...options });
      for (const index of nodes.keys()) {
        const number = index + 1;
        await this.#ceph.makeClient(`client.${cephUser(number)}`, NODE_CAPABILITIES, layout.node(number).cephKeyring);
      }
    }
    if (etcd !== undefined) this.#etcd = await EtcdMembers.start(layout, etcd, options);
  }
}
