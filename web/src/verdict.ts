import type { ClusterState } from './cluster-state.ts';
import { nameOf } from './cluster-state.ts';

/** Something a person should look at. */
export interface Trouble {
  readonly key: string;
  readonly text: string;
}

/** Whether everything is well, in one sentence, and what is not. */
export interface Verdict {
  readonly level: 'well' | 'busy' | 'bad';
  readonly text: string;
  readonly troubles: readonly Trouble[];
}

/** The share of a pool that may be used before it counts as trouble. */
const NEARLY_FULL = 0.9;

export function verdictOf(state: ClusterState): Verdict {
  const troubles: Trouble[] = [];
  for (const node of state.nodes.values()) {
    if (node.declared_dead !== undefined)
      troubles.push({ key: node.uuid, text: `Node ${node.host} is declared dead.` });
    else if (!node.connected) troubles.push({ key: node.uuid, text: `Node ${node.host} is away.` });
  }
  let busy = 0;
  for (const { configuration, problem, growth } of state.datasets.values()) {
    const name = nameOf(configuration.metadata, configuration.dataset_id);
    const worst = problem?.needs_action === true ? problem : growth?.needs_action === true ? growth : undefined;
    if (worst !== undefined) troubles.push({ key: configuration.dataset_id, text: `Volume ${name}: ${worst.message}` });
    else if (problem !== null) busy += 1;
  }
  for (const { pool, figures } of state.pools.values()) {
    if (figures.total !== null && figures.used !== null && figures.used > figures.total * NEARLY_FULL)
      troubles.push({ key: pool, text: `Pool ${pool.slice(0, 8)} is nearly full.` });
  }
  if (troubles.length > 0) {
    const text = troubles.length === 1 ? 'One thing needs attention' : `${troubles.length} things need attention`;
    return { level: 'bad', text, troubles };
  }
  if (busy > 0)
    return { level: 'busy', text: `${busy} ${busy === 1 ? 'volume is' : 'volumes are'} on the way`, troubles };
  const count = state.datasets.size;
  return { level: 'well', text: `All is well: ${count} ${count === 1 ? 'volume' : 'volumes'}`, troubles };
}
