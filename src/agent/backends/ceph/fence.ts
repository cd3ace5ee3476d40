import { type Clock, pause } from '../../../kit/clock.ts';
import type { ClientRegister } from './client-register.ts';
import type { ClusterAccess } from './cluster-access.ts';

/**
 * Five years. By default Ceph forgets after an hour, and a machine that was away for longer would then send what it had not
 * written yet.
 */
const CUT_OFF_SECONDS = 5 * 365 * 24 * 3600;
/** The monitor takes only a number with a fraction for a real number. */
const EXPIRE = CUT_OFF_SECONDS + 0.5;
/** What is cut off for at least as long need not be cut off again. */
const LONG_ENOUGH_MS = (CUT_OFF_SECONDS / 2) * 1000;
/** A node can register another client while it is being cut off; not often, as each look cuts off what it had. */
const ROUNDS = 5;
/**
 * The storage daemons refuse a client with the newest map; the metadata server gets that from the monitors a moment later, and until then takes
 * sizes and names from it still. Nobody tells when it has it.
 */
const METADATA_SERVER_MS = 1_000;

/** Of `osd dump`. */
interface Blocked {
  /** Addresses and until when, with the offset from UTC: `2031-11-26T10:00:00.000000+0000`. */
  readonly blocklist: Readonly<Record<string, string>>;
}

/** Cuts clients off from the storage, so that nothing they send is written any more. */
export class Fence {
  readonly #cluster: ClusterAccess;
  readonly #register: ClientRegister;
  readonly #clock: Clock;
  readonly #underWay = new Map<string, Promise<void>>();
  /** Addresses that the metadata server knows by now to be cut off. */
  readonly #settled = new Set<string>();

  constructor(cluster: ClusterAccess, register: ClientRegister, clock: Clock) {
    this.#cluster = cluster;
    this.#register = register;
    this.#clock = clock;
  }

  /** Cuts off all clients that a node has. Resolves when the cluster has it on record. Those who ask at once share it. */
  async node(instance: string): Promise<void> {
    let underWay = this.#underWay.get(instance);
    if (underWay === undefined) {
      underWay = this.#node(instance).finally(() => this.#underWay.delete(instance));
      this.#underWay.set(instance, underWay);
    }
    await underWay;
  }

  /** Whether a node had the image of a volume in use when it was last heard of. */
  async hasImage(what: string, instance: string): Promise<boolean> {
    const clients = [...(await this.#register.of(instance)).values()];
    return clients.some(({ mounted, isOfImage }) => mounted === what && isOfImage === true);
  }

  /** Cuts off clients by their addresses; those that are already cost nothing. False when all were. */
  async clients(addresses: readonly string[]): Promise<boolean> {
    if (addresses.length === 0) return false;
    const { blocklist } = await this.#cluster.ask<Blocked>('osd dump');
    const missing = addresses.filter((address) => !this.#lasts(blocklist[address]));
    if (missing.length === 0) return false;
    await this.#cluster.use(async (rados) => {
      const add = { prefix: 'osd blocklist', blocklistop: 'add', expire: EXPIRE };
      await Promise.all(missing.map((addr) => rados.monCommand({ ...add, addr })));
      await rados.awaitNewestMap();
    });
    return true;
  }

  async #node(instance: string): Promise<void> {
    for (let round = 0; round < ROUNDS; round += 1) {
      const addresses = [...(await this.#register.of(instance)).values()].map(({ address }) => address);
      if (await this.clients(addresses)) continue;
      if (addresses.every((address) => this.#settled.has(address))) return;
      // Also when another node has just cut them off.
      await pause(this.#clock, METADATA_SERVER_MS, new AbortController().signal);
      for (const address of addresses) this.#settled.add(address);
      return;
    }
    // The storage daemons keep the entry that they have.
    throw new Error(
      `Ceph had cut a client of node ${instance} off before, for too short a time, and does not lengthen that: see docs/ceph.md about mon_osd_blocklist_default_expire, and try again when "ceph osd blocklist ls" no longer shows it; or the node starts clients as fast as they are cut off: stop its agent`,
    );
  }

  #lasts(until: string | undefined): boolean {
    if (until === undefined) return false;
    const untilMs = Date.parse(until.replace(/(\.\d{3})\d*/, '$1').replace(/([+-]\d{2})(\d{2})$/, '$1:$2'));
    return untilMs - this.#clock.wallMs() > LONG_ENOUGH_MS;
  }
}
