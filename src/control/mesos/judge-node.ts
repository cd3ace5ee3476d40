import type { NodeId } from '../../kit/ids.ts';
import type { Match } from './match-agents.ts';
import type { MesosAgent } from './mesos-agent.ts';
import type { Registry } from './registry.ts';

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

/** Judges the machine of a node by the agents that fit it. Of several all have to be away. */
export function judgeNode(matches: readonly Match[], registry: Registry): Judgement {
  const unsure = matches.find(({ others }) => others.length > 0);
  if (unsure !== undefined) return { kind: 'ambiguous', ...unsure };
  for (const kind of ['present', 'left', 'unreachable', 'gone'] as const) {
    const match = matches.find(({ agent }) => standingOf(agent.id, registry) === kind);
    if (match !== undefined) return { kind, agent: match.agent };
  }
  return { kind: 'unknown' };
}

function standingOf(id: string, registry: Registry): 'present' | 'left' | 'unreachable' | 'gone' {
  const standing = registry.get(id);
  if (standing === 'admitted') return 'present';
  return standing ?? 'left';
}
