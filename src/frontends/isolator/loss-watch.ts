import { type Clock, pause } from '../../kit/clock.ts';
import type { Volumes } from '../../volumes/volumes.ts';
import { type ContainerHolding, holdingsOf } from './container-holdings.ts';
import { parseContainerNote } from './container-note.ts';
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

/** Resolves with a limitation once a container has lost a volume, or undefined when it has lost none after `holdMs`. */
export async function waitForLoss(
  holderId: string,
  holdMs: number,
  options: LossWatchOptions,
  signal: AbortSignal,
): Promise<Limitation | undefined> {
  const { volumes, clock, node, lookMs } = options;
  const untilMs = clock.monotonicMs() + holdMs;
  for (;;) {
    for (const one of holdingsOf(volumes, holderId)) {
      const why = await lossOf(one, options.probe, clock, lookMs, signal);
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

async function lossOf(
  { holding, lease }: ContainerHolding,
  probe: VolumeProbe,
  clock: Clock,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (lease.kind === 'lost') return `another node has its lease: ${lease.problem}`;
  if (holding.path === null) return undefined;
  const device = parseContainerNote(holding.note)?.devices[holding.volume];
  const enough = new AbortController();
  // Storage that hangs may come back: it is not lost.
  const slow = pause(clock, timeoutMs, AbortSignal.any([signal, enough.signal])).catch(() => undefined);
  const why = await Promise.race([probe.fault(holding.path, device), slow]);
  enough.abort();
  signal.throwIfAborted();
  return why ?? undefined;
}
