import type { Clock } from '../kit/clock.ts';
import type { NodeId } from '../kit/ids.ts';
import type { Logger } from '../kit/logger.ts';
import type { ClusterView } from './cluster.ts';
import type { DeploymentView } from './deployment.ts';
import { HOLDS_NOTHING, whyNotDead } from './fence-safety.ts';
import type { FenceWatch } from './fence-watch.ts';

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

/** Declares silent nodes dead without a person, where that is safe whatever they do ({@link whyNotDead}). */
export class FencePolicy implements FenceWatch {
  readonly #parts: FencePolicyParts;
  readonly #timers = new Map<NodeId, () => void>();

  constructor(parts: FencePolicyParts) {
    this.#parts = parts;
  }

  begin(): void {
    for (const { storage } of this.#parts.deployment.datasets())
      if (storage.kind === 'held' && !this.#timers.has(storage.node)) this.left(storage.node, 0);
  }

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
    const why = whyNotDead(id, deployment, cluster);
    if (why === HOLDS_NOTHING) return true;
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
