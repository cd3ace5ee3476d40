import { randomUUID } from 'node:crypto';
import { mkdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { callIsolator, type LaunchReply } from '../../../src/frontends/isolator/testing/isolator-bench.ts';
import { type FaultCluster, type FaultNode, VOLUME_SIZE } from '../fault-cluster.ts';
import type { VolumeUser, Way } from './way.ts';

const PREPARE_MS = 20_000;
const CALL_MS = 5_000;

/** As a Mesos agent with the isolator's module; a task that failed is started again by its framework, as another container. */
export function isolatorWay(cluster: FaultCluster): Way {
  const modules = new Map(cluster.nodes.map((node) => [node, new Module(cluster.sockets(node).isolator)]));
  const moduleOf = (node: FaultNode): Module => {
    const module = modules.get(node);
    if (module === undefined) throw new Error(`there is no node ${node.number}`);
    return module;
  };
  return {
    user: (node, volume) => new IsolatorUser(cluster, node, moduleOf(node), volume),
    // The Mesos agent is started again as well.
    agentStarted: (node) =>
      void moduleOf(node)
        .tell()
        .catch(() => undefined),
  };
}

/** The module of one node: what was not heard is made good by `recover`, with all containers that live. */
class Module {
  readonly #socket: string;
  readonly #living = new Set<string>();
  #untold = false;
  #telling: Promise<void> | undefined;

  constructor(socket: string) {
    this.#socket = socket;
  }

  async prepare(id: string, directory: string, volume: string): Promise<LaunchReply> {
    // Not while the agent reads a list that does not have this container.
    while (this.#untold || this.#telling !== undefined) await this.tell();
    this.#living.add(id);
    const variables = { FLOCKER_ID: volume, FLOCKER_CONTAINER_VOLUME_PATH: 'data', FLOCKER_SIZE: VOLUME_SIZE };
    const environment = {
      variables: Object.entries(variables).map(([name, value]) => ({ name, type: 'VALUE', value })),
    };
    const config = { directory, user: 'root', command_info: { environment } };
    const body = { container_id: { value: id }, container_config: config, timeout_ms: PREPARE_MS };
    return (await this.#call('prepare', body, PREPARE_MS)) as LaunchReply;
  }

  /** Is never repeated. Resolves with whether it was heard; otherwise `tell` has to be. */
  async cleanup(id: string): Promise<boolean> {
    this.#living.delete(id);
    try {
      await this.#call('cleanup', { container_id: { value: id } }, CALL_MS);
      return true;
    } catch {
      this.#untold = true;
      return false;
    }
  }

  /** Says which containers live; all others have ended. */
  async tell(): Promise<void> {
    // One that is under way may list what has ended since.
    await this.#telling?.catch(() => undefined);
    this.#telling ??= this.#recover().finally(() => {
      this.#telling = undefined;
    });
    await this.#telling;
  }

  async #recover(): Promise<void> {
    this.#untold = false;
    try {
      const states = [...this.#living].map((value) => ({ container_id: { value } }));
      await this.#call('recover', { states, orphans: [] }, CALL_MS);
    } catch (error) {
      this.#untold = true;
      throw error;
    }
  }

  async #call(method: string, body: object, timeoutMs: number): Promise<unknown> {
    const answer = await callIsolator(this.#socket, method, body, AbortSignal.timeout(timeoutMs));
    if (answer.status !== 200) throw new Error(`${method}: ${(answer.body as { message: string }).message}`);
    return answer.body;
  }
}

interface Container {
  readonly id: string;
  readonly sandbox: string;
  isCleanedUp: boolean;
}

class IsolatorUser implements VolumeUser {
  readonly #cluster: FaultCluster;
  readonly #node: FaultNode;
  readonly #module: Module;
  readonly #volume: string;
  readonly #containers = new Set<Container>();
  #mount = { source: '', target: '' };

  constructor(cluster: FaultCluster, node: FaultNode, module: Module, volume: string) {
    this.#cluster = cluster;
    this.#node = node;
    this.#module = module;
    this.#volume = volume;
  }

  async take(): Promise<void> {
    const id = randomUUID();
    const container = { id, sandbox: join(this.#node.callers, `mesos-${id}`), isCleanedUp: false };
    this.#containers.add(container);
    await mkdir(container.sandbox, { mode: 0o750 });
    try {
      const [mount] = (await this.#module.prepare(id, container.sandbox, this.#volume)).mounts;
      if (mount === undefined) throw new Error('prepare was answered without a mount');
      this.#mount = mount;
    } catch (error) {
      container.isCleanedUp = true;
      if (await this.#module.cleanup(id)) await this.#remove(container);
      throw error;
    }
  }

  command(forMs: number): ReturnType<VolumeUser['command']> {
    const { source, target } = this.#mount;
    return this.#cluster.boundCommand(this.#node, source, target, this.#cluster.writer(target, forMs));
  }

  async leave(): Promise<void> {
    for (const container of this.#containers) {
      const { id, isCleanedUp } = container;
      container.isCleanedUp = true;
      if (isCleanedUp || !(await this.#module.cleanup(id))) await this.#module.tell();
      await this.#remove(container);
    }
  }

  /** Fails when the isolator has left something in its sandbox. */
  async #remove(container: Container): Promise<void> {
    await rmdir(container.sandbox);
    this.#containers.delete(container);
  }
}
