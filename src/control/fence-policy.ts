import type { Clock } from '../kit/clock.ts';
import type { NodeId } from '../kit/ids.ts';
import type { Logger } from '../kit/logger.ts';
import type { ClusterView } from './cluster.ts';
import type { DeploymentView } from './deployment.ts';

interface FencePolicyParts {
  /** A node that was silent for so long is declared dead, milliseconds. */
  readonly afterMs: number;
  readonly deployment: DeploymentView;
  readonly cluster: ClusterView;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Declares a node dead. */
  readonly declare: (node: NodeId) => Promise<unknown>;
}

/**
 * Declares silent nodes dead without a person, where that is safe whatever they do: only nodes that hold volumes, all of them in pools that
 * cut off whoever loses a volume there, and that another connected node reaches. When most nodes are silent it is this control
 * service that is cut off, and nobody is declared.
 */
export class FencePolicy {
  readonly #parts: FencePolicyParts;
  readonly #timers = new Map<NodeId, () => void>();

  constructor(parts: FencePolicyParts) {
    this.#parts = parts;
  }

  /** Nodes that hold volumes when the control service starts, and may never come. */
  begin(): void {
    for (const { storage } of this.#parts.deployment.datasets())
      if (storage.kind === 'held' && !this.#timers.has(storage.node)) this.left(storage.node, 0);
  }

  /** A node's connection ended; it had been silent for a while then. */
  left(node: NodeId, silentMs: number): void {
    const { afterMs, clock } = this.#parts;
    this.joined(node);
    const wait = (delayMs: number): void => {
      const cancel = clock.timer(delayMs, () => {
        if (!this.#decide(node)) wait(afterMs);
      });
      this.#timers.set(node, cancel);
    };
    wait(Math.max(0, afterMs - silentMs));
  }

  joined(node: NodeId): void {
    this.#timers.get(node)?.();
    this.#timers.delete(node);
  }

  close(): void {
    for (const node of [...this.#timers.keys()]) this.joined(node);
  }

  /** False when there is a reason to look again later. */
  #decide(id: NodeId): boolean {
    const { deployment, cluster, logger, declare, afterMs } = this.#parts;
    this.#timers.delete(id);
    if (cluster.node(id)?.connected === true || deployment.death(id) !== undefined) return true;
    const why = whyNot(id, deployment, cluster);
    if (why === 'holds nothing') return true;
    if (why !== undefined) {
      logger.warn({ node: id, silentMs: afterMs, why }, 'a silent node is not declared dead');
      return false;
    }
    logger.warn({ node: id, silentMs: afterMs }, 'a node was silent for too long: it is declared dead and cut off');
    // A store that fails has ended the process.
    declare(id).catch(() => undefined);
    return true;
  }
}

function whyNot(id: NodeId, deployment: DeploymentView, cluster: ClusterView): string | undefined {
  const pools = new Set<string | null>();
  for (const { storage } of deployment.concerning(id))
    if (storage.kind === 'held' && storage.node === id) pools.add(storage.pool);
  if (pools.size === 0) return 'holds nothing';
  const connected = [...cluster.nodes()].filter((node) => node.connected);
  for (const pool of pools) {
    const reach = connected.filter((node) => node.pool === pool);
    if (reach.length === 0) return `no other node reaches pool ${pool ?? 'of its volumes'}`;
    if (!reach.every(({ fences }) => fences)) return `pool ${pool} cannot cut a node off`;
  }
  const known = new Set([...cluster.nodes(), ...cluster.silent()].map((node) => node.id)).add(id);
  const alive = [...known].filter((node) => deployment.death(node) === undefined);
  if (connected.length * 2 < alive.length) return 'most nodes are silent: this control service may be cut off';
  return undefined;
}
