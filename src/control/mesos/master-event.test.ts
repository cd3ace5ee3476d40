import { expect, it } from 'vitest';
import { parseMasterEvent } from './master-event.ts';
import { parseRegistry } from './registry.ts';

const task = (source: string, reason: string): object => ({
  type: 'TASK_UPDATED',
  task_updated: { state: 'TASK_GONE_BY_OPERATOR', status: { source, reason, agent_id: { value: 'S1' } } },
});

it.each<[string, object, string]>([
  ['an agent that unregistered', { type: 'AGENT_REMOVED', agent_removed: { agent_id: { value: 'S1' } } }, 'agentAway'],
  ['a task of an agent marked gone', task('SOURCE_MASTER', 'REASON_AGENT_REMOVED_BY_OPERATOR'), 'agentAway'],
  ['a task of an agent that is lost', task('SOURCE_MASTER', 'REASON_AGENT_REMOVED'), 'agentAway'],
  ['a task at the end of a drain', task('SOURCE_AGENT', 'REASON_AGENT_DRAINING'), 'other'],
  ['a task that failed', task('SOURCE_EXECUTOR', 'REASON_COMMAND_EXECUTOR_FAILED'), 'other'],
  ['an agent without an id', { type: 'AGENT_ADDED', agent_added: { agent: {} } }, 'other'],
  ['an event of another version', { type: 'SOMETHING_NEW' }, 'other'],
  ['no object', [1], 'other'],
])('%s', (_, event, kind) => {
  expect(parseMasterEvent(JSON.stringify(event)).kind).toBe(kind);
});

it('reads where an agent listens and what its attribute says', () => {
  const agent = {
    agent_info: {
      id: { value: 'S1' },
      hostname: 'one',
      attributes: [
        { name: 'rack', type: 'SCALAR', scalar: { value: 7 } },
        { name: 'flocker_node', type: 'TEXT', text: { value: 'uuid' } },
      ],
    },
    pid: 'slave(1)@[fd00::1]:5051',
  };
  expect(parseMasterEvent(JSON.stringify({ type: 'AGENT_ADDED', agent_added: { agent } }))).toEqual({
    kind: 'agentAdded',
    agent: { id: 'S1', hostname: 'one', endpoint: '[fd00::1]:5051', address: 'fd00::1', node: 'uuid' },
  });
});

it('takes an attribute that is no text for one that names no node', () => {
  const attributes = [{ name: 'flocker_node', type: 'SCALAR', scalar: { value: 5 } }];
  const agent = { agent_info: { id: { value: 'S1' }, hostname: 'one', attributes } };
  expect(parseMasterEvent(JSON.stringify({ type: 'AGENT_ADDED', agent_added: { agent } }))).toEqual({
    kind: 'agentAdded',
    agent: { id: 'S1', hostname: 'one', endpoint: undefined, address: undefined, node: '' },
  });
});

it('refuses what is no JSON, and a registry of a master that does not lead', () => {
  expect(() => parseMasterEvent('{')).toThrow(/no JSON/);
  expect(() => parseRegistry('{')).toThrow(/no JSON/);
  expect(() => parseRegistry('{}')).toThrow(/does not lead/);
});

it('takes the harmless word when an agent is in two lists', () => {
  const id = { value: 'S1' };
  const registry = { master: { info: {} }, gone: { slaves: [{ id }] }, slaves: { slaves: [{ info: { id } }, 7] } };
  expect(parseRegistry(JSON.stringify(registry))).toEqual(new Map([['S1', 'admitted']]));
});
