import type { Clock } from '../../../kit/clock.ts';
import { type CephAccess, connectRados, type Rados } from './librados.ts';

/** Longer than the pause between two looks at the pool, so that a working node stays connected. */
const IDLE_MS = 20_000;

/** The way of a node to its Ceph cluster. It connects when it is used, and lets go after a while in which it is not. */
export class ClusterAccess {
  readonly access: CephAccess;
  readonly #clock: Clock;
  #connection: Promise<Rados> | undefined;
  #users = 0;
  #cancelIdle: () => void = () => undefined;

  constructor(access: CephAccess, clock: Clock) {
    this.access = access;
    this.#clock = clock;
  }

  /** Runs work with a connection. */
  async use<T>(work: (rados: Rados) => Promise<T>): Promise<T> {
    this.#cancelIdle();
    this.#users += 1;
    const connection = (this.#connection ??= connectRados(this.access));
    try {
      return await work(await connection.catch((error: unknown) => this.#forget(connection, error)));
    } finally {
      this.#users -= 1;
      if (this.#users === 0) this.#cancelIdle = this.#clock.timer(IDLE_MS, () => void this.close());
    }
  }

  /** Asks the monitors; the answer is parsed JSON of the shape that the caller states. */
  async ask<T>(prefix: string, parameters: Readonly<Record<string, unknown>> = {}): Promise<T> {
    return JSON.parse(await this.use((rados) => rados.monCommand({ prefix, ...parameters }))) as T;
  }

  /** Ends the connection; the next use makes a new one. */
  async close(): Promise<void> {
    this.#cancelIdle();
    const connection = this.#connection;
    if (connection === undefined || this.#users > 0) return;
    this.#connection = undefined;
    await (await connection.catch(() => undefined))?.close();
  }

  #forget(connection: Promise<Rados>, error: unknown): never {
    if (this.#connection === connection) this.#connection = undefined;
    throw error;
  }
}
