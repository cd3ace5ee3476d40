import type { ClusterAccess } from './cluster-access.ts';
import type { ObjectPlace } from './librados.ts';

/** A client of CephFS that a node runs. */
export interface RegisteredClient {
  /** What it has mounted: a dataset id, or `pool`. */
  readonly mounted: string;
  /** As the cluster knows it, `10.0.0.1:0/123456`. */
  readonly address: string;
  /** It serves an RBD image, and not a directory of CephFS. */
  readonly isOfImage?: boolean;
}

export interface RegisterPlace {
  /** A pool of the filesystem's data. */
  readonly pool: string;
  /** The directory of the volumes in CephFS: each has a register of its own. */
  readonly root: string;
}

/** Kept apart from the objects of files. */
export const NAMESPACE = 'flocker';

/**
 * Which clients each node runs, by names that their processes bear. They are objects, not files: files of a node that died are
 * held back by its client for a minute, and that client is what is looked for. A client is registered before anything may write
 * through it. Only a node itself writes about itself.
 */
export class ClientRegister {
  readonly #cluster: ClusterAccess;
  readonly #place: RegisterPlace;
  readonly #instance: string;
  #last: Promise<unknown> = Promise.resolve();

  constructor(cluster: ClusterAccess, place: RegisterPlace, instance: string) {
    this.#cluster = cluster;
    this.#place = place;
    this.#instance = instance;
  }

  /** The clients of a node by their tokens. */
  async of(instance: string): Promise<ReadonlyMap<string, RegisteredClient>> {
    const text = await this.#cluster.use((rados) => rados.read(this.#object(instance)));
    if (text === undefined) return new Map();
    const { version, clients } = JSON.parse(text) as { version: unknown; clients: Record<string, RegisteredClient> };
    if (version !== 1) throw new Error(`the clients of node ${instance} are recorded in version ${String(version)}`);
    return new Map(Object.entries(clients));
  }

  /** The clients of this node. */
  async own(): Promise<ReadonlyMap<string, RegisteredClient>> {
    return await this.of(this.#instance);
  }

  async add(token: string, client: RegisteredClient): Promise<void> {
    await this.#change((clients) => clients.set(token, client));
  }

  async remove(tokens: readonly string[]): Promise<void> {
    if (tokens.length === 0) return;
    await this.#change((clients) => {
      for (const token of tokens) clients.delete(token);
    });
  }

  async #change(apply: (clients: Map<string, RegisteredClient>) => void): Promise<void> {
    const change = this.#last.then(async () => {
      const clients = new Map(await this.own());
      apply(clients);
      const text = JSON.stringify({ version: 1, clients: Object.fromEntries(clients) });
      await this.#cluster.use((rados) => rados.write(this.#object(this.#instance), text));
    });
    this.#last = change.catch(() => undefined);
    await change;
  }

  #object(instance: string): ObjectPlace {
    return { pool: this.#place.pool, namespace: NAMESPACE, name: `clients:${this.#place.root}:${instance}` };
  }
}
