import { expect, it } from 'vitest';
import { KnownAgents } from './known-agents.ts';
import type { MesosAgent } from './mesos-agent.ts';

function agent(id: string, endpoint: string | undefined): MesosAgent {
  return { id, hostname: 'one', endpoint, address: endpoint?.split(':')[0], node: undefined };
}

const idsOf = (agents: KnownAgents): string[] => [...agents].map(({ id }) => id);

it('forgets the life before of a machine, and no other agent', () => {
  const agents = new KnownAgents();
  agents.learn(agent('S1', '10.0.0.1:5051'));
  agents.learn(agent('S2', '10.0.0.1:5052'));
  agents.learn(agent('S3', '10.0.0.1:5051'));
  expect(idsOf(agents)).toEqual(['S2', 'S3']);
  agents.learn(agent('S3', '10.0.0.9:5051'));
  agents.learn(agent('S4', '10.0.0.1:5051'));
  expect(idsOf(agents)).toEqual(['S2', 'S3', 'S4']);
});

it('keeps where an agent was when a new master does not know it yet', () => {
  const agents = new KnownAgents();
  agents.learn(agent('S1', '10.0.0.1:5051'));
  agents.learn({ ...agent('S1', undefined), hostname: 'renamed' });
  expect([...agents]).toEqual([{ ...agent('S1', '10.0.0.1:5051'), hostname: 'renamed' }]);
});
