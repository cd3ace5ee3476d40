import { type Clock, pause } from '../../kit/clock.ts';
import type { Volumes } from '../../volumes/volumes.ts';
import { type ContainerHolding, containerHolders, holdingsOf } from './container-holdings.ts';
import type { NodeName } from './isolator-error.ts';
import type { Limitation } from './isolator-schemas.ts';
import type { VolumeProbe } from './volume-probe.ts';

export interface LossWatchOptions {
  readonly volumes: Volumes;
  readonly probe: VolumeProbe;
  readonly clock: Clock;
  readonly node: NodeName;
  /** Between two looks, milliseconds: the kernel announces neither a dead filesystem nor a lost mount. */
  readonly lookMs: number;
}

/** Notices when a running container has lost a volume. */
export class LossWatch {
  readonly #options: LossWatchOptions;
  /** Root directory of each volume, as first seen, by holder and path. */
  readonly #roots = new Map<string, Map<string, string>>();

  constructor(options: LossWatchOptions) {
    this.#options = options;
  }

  /** Resolves with a limitation once the container has lost a volume, or undefined when it has lost none after `holdMs`. */
  async wait(holderId: string, holdMs: number, signal: AbortSignal): Promise<Limitation | undefined> {
    const { volumes, clock, node, lookMs } = this.#options;
    const untilMs = clock.monotonicMs() + holdMs;
    this.#forgetEnded();
    for (;;) {
      for (const one of holdingsOf(volumes, holderId)) {
        const why = await this.#lossOf(one, signal);
        if (why === undefined) continue;
        const message =
          `Flocker on node ${node.hostname} (${node.id}): the task lost volume ${one.holding.volume}: ${why}. ` +
          "It was ended because the operator set kill-tasks-of-lost-volumes in this node's agent.yml.";
        return { message, reason: 'REASON_CONTAINER_LIMITATION' };
      }
      if (clock.monotonicMs() + lookMs > untilMs) return undefined;
      await pause(clock, lookMs, signal);
    }
  }

  async #lossOf({ holding, lease }: ContainerHolding, signal: AbortSignal): Promise<string | undefined> {
    const { clock, lookMs, probe } = this.#options;
    if (lease.kind === 'lost') return `another node has its lease: ${lease.problem}`;
    const { path, holderId } = holding;
    if (path === null) return undefined;
    const enough = new AbortController();
    // Storage that hangs may come back: it is not lost.
    const slow = pause(clock, lookMs, AbortSignal.any([signal, enough.signal])).catch(() => undefined);
    const seen = (await Promise.race([probe.root(path), slow])) ?? { kind: 'unclear' };
    enough.abort();
    signal.throwIfAborted();
    if (seen.kind === 'unclear') return undefined;
    if (seen.kind === 'gone') return `reading it fails: ${seen.problem}`;
    const roots = this.#roots.get(holderId) ?? new Map<string, string>();
    this.#roots.set(holderId, roots);
    const first = roots.get(path) ?? seen.identity;
    roots.set(path, first);
    return first === seen.identity ? undefined : `it is no longer mounted at ${path}`;
  }

  /** A volume that is mounted anew for another container is another root. */
  #forgetEnded(): void {
    const living = containerHolders(this.#options.volumes);
    for (const holderId of this.#roots.keys()) if (!living.has(holderId)) this.#roots.delete(holderId);
  }
}
