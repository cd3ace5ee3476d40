import { expect, it } from 'vitest';
import { A, B, sampleNodeId } from '../testing/samples.ts';
import { type Judgement, judgeNode } from './judge-node.ts';
import { type KnownNode, matchAgents } from './match-agents.ts';
import type { MesosAgent } from './mesos-agent.ts';
import type { Standing } from './registry.ts';

const NODE: KnownNode = { id: A, host: '10.0.0.1' };
const OTHER: KnownNode = { id: B, host: '10.0.0.2' };
/** A node that was not heard since the start is not among those that are known. */
const UNHEARD: KnownNode = { id: A, host: '' };

function agent(id: string, fields: Partial<MesosAgent> = {}): MesosAgent {
  return { id, hostname: 'one', endpoint: '10.0.0.1:5051', address: '10.0.0.1', node: undefined, ...fields };
}

function judged(agents: readonly MesosAgent[], standings: Record<string, Standing>, nodes = [NODE, OTHER]): Judgement {
  const [node = NODE] = nodes;
  const known = nodes.filter((one) => one !== UNHEARD);
  return judgeNode(matchAgents(known, agents).get(node.id) ?? [], new Map(Object.entries(standings)));
}

it.each<[string, Standing | undefined, Judgement['kind']]>([
  ['marked gone', 'gone', 'gone'],
  ['unreachable', 'unreachable', 'unreachable'],
  ['registered', 'admitted', 'present'],
  ['unregistered or forgotten', undefined, 'left'],
])('tells of a node whose agent is %s', (_, standing, kind) => {
  expect(judged([agent('S1')], standing === undefined ? {} : { S1: standing })).toMatchObject({ kind });
});

it.each<[string, Partial<MesosAgent>, KnownNode, boolean]>([
  ['by the address it listens on', {}, NODE, true],
  ['by its host name, as far as a master remembers', { address: undefined, hostname: '10.0.0.1' }, NODE, true],
  ['by its host name, in any case', { address: '9.9.9.9', hostname: 'Node-1' }, { id: A, host: 'node-1' }, true],
  ['by its attribute, whatever its address', { address: '10.0.0.2', node: A }, NODE, true],
  ['by its attribute, in capital letters', { node: A.toUpperCase() }, NODE, true],
  ['by its attribute, when the node was not heard yet', { node: A }, UNHEARD, true],
  ['not by its address, when its attribute says another', { node: sampleNodeId(9) }, NODE, false],
  ['not by its address, when its attribute is no node', { node: 'rack-7' }, NODE, false],
  ['not by its address, when its attribute is no text', { node: '' }, NODE, false],
  ['not by its address, when the node was not heard yet', {}, UNHEARD, false],
  ['not at all, when nothing is the same', { address: '10.0.0.3' }, NODE, false],
])('finds the agent of a node %s', (_, fields, node, found) => {
  expect(judged([agent('S1', fields)], { S1: 'gone' }, [node, OTHER]).kind).toBe(found ? 'gone' : 'unknown');
});

it('is not sure when an agent fits two nodes', () => {
  const twin: KnownNode = { id: B, host: '10.0.0.1' };
  expect(judged([agent('S1')], { S1: 'gone' }, [NODE, twin])).toMatchObject({ kind: 'ambiguous', others: [B] });
  const byName = agent('S1', { address: '10.0.0.2', hostname: '10.0.0.1' });
  expect(judged([byName], { S1: 'gone' })).toMatchObject({ kind: 'ambiguous', others: [B] });
  // Its attribute says which.
  expect(judged([agent('S1', { node: A })], { S1: 'gone' }, [NODE, twin])).toMatchObject({ kind: 'gone' });
});

it.each<[Standing | undefined, Standing | undefined, Judgement['kind']]>([
  ['gone', 'gone', 'gone'],
  ['gone', 'unreachable', 'unreachable'],
  ['unreachable', 'admitted', 'present'],
  ['gone', 'admitted', 'present'],
  ['gone', undefined, 'left'],
])('of two agents on a machine, %s and %s, all have to be away', (first, second, kind) => {
  const both = [agent('S1'), agent('S2', { endpoint: '10.0.0.1:5052' })];
  for (const agents of [both, both.toReversed()]) {
    const standings = { ...(first && { S1: first }), ...(second && { S2: second }) };
    expect(judged(agents, standings).kind).toBe(kind);
  }
});
