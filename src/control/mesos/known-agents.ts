import type { MesosAgent } from './mesos-agent.ts';

/** Masters keep as many of those they lost (`registry_max_agent_count`, src/master/constants.hpp). */
const MOST_AGENTS = 102_400;

/**
 * The agents that masters told of, also those that are away by now: which machine an agent had is told while it is registered, and never
 * afterwards. In memory only.
 */
export class KnownAgents implements Iterable<MesosAgent> {
  readonly #agents = new Map<string, MesosAgent>();
  readonly #byEndpoint = new Map<string, string>();

  get size(): number {
    return this.#agents.size;
  }

  [Symbol.iterator](): Iterator<MesosAgent> {
    return this.#agents.values();
  }

  /** Takes in an agent. One that had its address and port before is another life of the same machine: that one is forgotten. */
  learn(agent: MesosAgent): void {
    const { id, endpoint } = agent;
    const known = this.#agents.get(id);
    const before = endpoint === undefined ? undefined : this.#byEndpoint.get(endpoint);
    if (before !== undefined && before !== id) this.#forget(before);
    this.#forget(id);
    // A master that has just begun to lead does not know yet where its agents listen.
    const { address, endpoint: place } = endpoint === undefined && known !== undefined ? known : agent;
    this.#agents.set(id, { ...agent, address, endpoint: place });
    if (place !== undefined) this.#byEndpoint.set(place, id);
    if (this.#agents.size <= MOST_AGENTS) return;
    const [oldest] = this.#agents.keys();
    if (oldest !== undefined) this.#forget(oldest);
  }

  #forget(id: string): void {
    const endpoint = this.#agents.get(id)?.endpoint;
    if (endpoint !== undefined && this.#byEndpoint.get(endpoint) === id) this.#byEndpoint.delete(endpoint);
    this.#agents.delete(id);
  }
}
