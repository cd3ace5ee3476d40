import { at } from '../../mesos/http-calls.ts';
import { MesosError } from '../../mesos/mesos-error.ts';
import { type MesosAgent, recoveredAgent, registeredAgent } from './mesos-agent.ts';

/**
 * What a master's event is to us (`mesos.v1.master.Event`).
 *
 * A master tells its subscribers that an agent registered, but neither that it marked one unreachable nor that an operator marked one
 * gone: `AGENT_REMOVED` is sent for agents that unregister by themselves (`Master::_removeSlave`), while unreachable and gone ones take another
 * way (`Master::__removeSlave`, src/master/master.cpp, 1.5 to 1.11) of which subscribers see no more than updates of the agent's tasks: by
 * the master itself, with a reason `REASON_AGENT_REMOVED…`. A framework that is not partition aware is told `TASK_LOST` in both cases, and an
 * agent without tasks leaves without a word. So all of these are one thing here, `agentAway`: a reason to read the registry.
 */
export type MasterEvent =
  | { readonly kind: 'subscribed'; readonly agents: readonly MesosAgent[]; readonly heartbeatMs: number | undefined }
  | { readonly kind: 'agentAdded'; readonly agent: MesosAgent }
  | { readonly kind: 'agentAway' }
  | { readonly kind: 'heartbeat' }
  /** What says nothing of agents. */
  | { readonly kind: 'other' };

/** Reads one record of the stream. Throws a {@link MesosError} on what is no event. */
export function parseMasterEvent(record: string): MasterEvent {
  let event: unknown;
  try {
    event = JSON.parse(record);
  } catch (error) {
    throw new MesosError('unexpected_answer', 'the master sent a record that is no JSON', { cause: error });
  }
  switch (at(event, 'type')) {
    case 'SUBSCRIBED':
      return subscribed(at(event, 'subscribed'));
    case 'AGENT_ADDED': {
      const agent = registeredAgent(at(event, 'agent_added', 'agent'));
      return agent === undefined ? { kind: 'other' } : { kind: 'agentAdded', agent };
    }
    case 'AGENT_REMOVED':
      return { kind: 'agentAway' };
    case 'TASK_UPDATED':
      return isAgentAway(at(event, 'task_updated', 'status')) ? { kind: 'agentAway' } : { kind: 'other' };
    case 'HEARTBEAT':
      return { kind: 'heartbeat' };
    default:
      return { kind: 'other' };
  }
}

function subscribed(value: unknown): MasterEvent {
  const agents = at(value, 'get_state', 'get_agents');
  const seconds = at(value, 'heartbeat_interval_seconds');
  return {
    kind: 'subscribed',
    // Who is registered is newer than what the master recovered.
    agents: [
      ...list(at(agents, 'recovered_agents')).flatMap((info) => recoveredAgent(info) ?? []),
      ...list(at(agents, 'agents')).flatMap((agent) => registeredAgent(agent) ?? []),
    ],
    heartbeatMs: typeof seconds === 'number' && seconds > 0 ? seconds * 1000 : undefined,
  };
}

/** The agent says `TASK_GONE_BY_OPERATOR` too, at the end of a drain: then it lives. */
function isAgentAway(status: unknown): boolean {
  const reason = at(status, 'reason');
  return (
    at(status, 'source') === 'SOURCE_MASTER' &&
    (reason === 'REASON_AGENT_REMOVED' || reason === 'REASON_AGENT_REMOVED_BY_OPERATOR')
  );
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : [];
}
