import { type NodeId, parseNodeId } from '../../kit/ids.ts';
import type { MesosAgent } from './mesos-agent.ts';

/** A node as the control service knows it. */
export interface KnownNode {
  readonly id: NodeId;
  /** Its address towards the control service. */
  readonly host: string;
}

/** An agent that fits a node, and the other nodes that it fits: then nobody knows whose it is. */
export interface Match {
  readonly agent: MesosAgent;
  readonly others: readonly NodeId[];
}

/** The agents of each node that has any. */
export type Matches = ReadonlyMap<NodeId, readonly Match[]>;

/**
 * Which agents are on the machine of which node. An agent whose attribute `flocker_node` names a node fits that node alone, also one that is
 * not among `nodes`. Any other fits the nodes whose address it listens on or has as its host name.
 */
export function matchAgents(nodes: Iterable<KnownNode>, agents: Iterable<MesosAgent>): Matches {
  const byHost = new Map<string, Set<NodeId>>();
  for (const { id, host } of nodes) {
    const name = host.toLowerCase();
    if (name !== '') byHost.set(name, (byHost.get(name) ?? new Set()).add(id));
  }
  const matches = new Map<NodeId, Match[]>();
  for (const agent of agents) {
    const fitting = nodesOf(agent, byHost);
    for (const node of fitting) {
      const match = { agent, others: fitting.filter((other) => other !== node) };
      matches.set(node, [...(matches.get(node) ?? []), match]);
    }
  }
  return matches;
}

function nodesOf({ node, address, hostname }: MesosAgent, byHost: ReadonlyMap<string, Set<NodeId>>): NodeId[] {
  if (node !== undefined) return [parseNodeId(node) ?? []].flat();
  const names = [...(address === undefined ? [] : [address]), hostname.toLowerCase()];
  return [...new Set(names.flatMap((name) => [...(byHost.get(name) ?? [])]))];
}
