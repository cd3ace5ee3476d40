import { type NodeId, parseNodeId } from '../../kit/ids.ts';
import type { MesosAgent } from './mesos-agent.ts';
import type { Registry } from './registry.ts';

/** A node as the control service knows it. */
export interface KnownNode {
  readonly id: NodeId;
  /** Its address towards the control service; undefined while it was not heard since the control service started. */
  readonly host: string | undefined;
}

/**
 * What the master says of the machine of a node.
 *
 * - `gone`: an operator marked all its agents gone. `unreachable`: the master lost at least one, and the others are lost or gone.
 * - `present`: an agent of it is registered, or may still be. `left`: one unregistered, or the master has forgotten it.
 * - `unknown`: no agent was told that fits the node. `ambiguous`: one that fits does fit another node as well.
 */
export type Judgement =
  | { readonly kind: 'gone' | 'unreachable' | 'present' | 'left'; readonly agent: MesosAgent }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'ambiguous'; readonly agent: MesosAgent; readonly others: readonly NodeId[] };

/**
 * Judges the machine of a node by the agents that fit it. An agent whose attribute `flocker_node` names a node fits that node alone; any other
 * fits the node whose address it listens on or has as its host name. Of several agents all have to be away.
 */
export function judgeNode(
  node: KnownNode,
  nodes: readonly KnownNode[],
  agents: Iterable<MesosAgent>,
  registry: Registry,
): Judgement {
  const fitting = [...agents].filter((agent) => fits(agent, node));
  for (const agent of fitting) {
    const others = nodes.filter((other) => other.id !== node.id && fits(agent, other)).map(({ id }) => id);
    if (others.length > 0) return { kind: 'ambiguous', agent, others };
  }
  for (const kind of ['present', 'left', 'unreachable', 'gone'] as const) {
    const agent = fitting.find(({ id }) => standingOf(id, registry) === kind);
    if (agent !== undefined) return { kind, agent };
  }
  return { kind: 'unknown' };
}

function standingOf(id: string, registry: Registry): 'present' | 'left' | 'unreachable' | 'gone' {
  const standing = registry.get(id);
  if (standing === 'admitted') return 'present';
  return standing ?? 'left';
}

function fits({ hostname, address, node }: MesosAgent, { id, host }: KnownNode): boolean {
  if (node !== undefined) return parseNodeId(node) === id;
  if (host === undefined || host === '') return false;
  return host === address || host.toLowerCase() === hostname.toLowerCase();
}
