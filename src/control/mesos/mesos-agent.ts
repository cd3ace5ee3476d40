import { isIP } from 'node:net';
import { at } from '../../mesos/http-calls.ts';

/** Attribute of a Mesos agent that names the node on its machine: `--attributes=flocker_node:<uuid>`. */
export const NODE_ATTRIBUTE = 'flocker_node';

/** An agent of Mesos as its master tells it. */
export interface MesosAgent {
  readonly id: string;
  readonly hostname: string;
  /** `address:port` it listens on; undefined for one that the master only knows from before its own start. */
  readonly endpoint: string | undefined;
  /** The address in it, without brackets. */
  readonly address: string | undefined;
  /** What its attribute {@link NODE_ATTRIBUTE} says, as it was written; empty when it is no text. */
  readonly node: string | undefined;
}

/** Reads `GetAgents.Agent`: `agent_info` and `pid`, as in `slave(1)@10.0.0.1:5051`. Undefined when it is none. */
export function registeredAgent(value: unknown): MesosAgent | undefined {
  const pid = at(value, 'pid');
  return agentOf(at(value, 'agent_info'), typeof pid === 'string' ? pid : undefined);
}

/** Reads an `AgentInfo` alone, as of `recovered_agents`. Undefined when it is none. */
export function recoveredAgent(info: unknown): MesosAgent | undefined {
  return agentOf(info, undefined);
}

function agentOf(info: unknown, pid: string | undefined): MesosAgent | undefined {
  const [id, hostname] = [at(info, 'id', 'value'), at(info, 'hostname')];
  if (typeof id !== 'string' || id === '' || typeof hostname !== 'string') return undefined;
  const endpoint = pid?.slice(pid.lastIndexOf('@') + 1);
  const address = endpoint?.slice(0, Math.max(0, endpoint.lastIndexOf(':'))).replaceAll(/^\[|\]$/g, '');
  const known = address !== undefined && isIP(address) !== 0;
  return {
    ...{ id, hostname, node: nodeAttribute(at(info, 'attributes')) },
    ...(known ? { endpoint, address } : { endpoint: undefined, address: undefined }),
  };
}

function nodeAttribute(attributes: unknown): string | undefined {
  if (!Array.isArray(attributes)) return undefined;
  const one = attributes.find((attribute) => at(attribute, 'name') === NODE_ATTRIBUTE) as unknown;
  if (one === undefined) return undefined;
  const text = at(one, 'text', 'value');
  return typeof text === 'string' ? text : '';
}
