import { dirname } from 'node:path';
import type { AgentConfig } from '../../agent/agent-config.ts';
import { LocalClient } from '../../frontends/local/local-client.ts';
import { errorText } from '../../kit/coded-error.ts';
import { type Finding, fault, ok, unknown } from './finding.ts';
import type { Machine } from './machine.ts';

/** Whether the agent runs, and whether only root reaches its sockets. */
export async function checkSockets(machine: Machine, config: AgentConfig, signal: AbortSignal): Promise<Finding[]> {
  const { socketPath, isolatorSocketPath, csiSocketPath } = config;
  const findings = [await checkAgent(socketPath, signal)];
  for (const path of [socketPath, isolatorSocketPath, csiSocketPath]) {
    if (path !== undefined) findings.push(await checkSocket(machine, path));
  }
  return findings;
}

async function checkAgent(socketPath: string, signal: AbortSignal): Promise<Finding> {
  try {
    const volumes = Object.keys(await new LocalClient(socketPath).volumes(signal));
    return ok(`the node agent answers; ${volumes.length} volumes are in use here`);
  } catch (error) {
    return fault(errorText(error), 'Start flocker agent, and look at its log if it ends.');
  }
}

async function checkSocket(machine: Machine, path: string): Promise<Finding> {
  const [socket, directory] = [await machine.facts(path), await machine.facts(dirname(path))];
  if (directory === undefined || socket === undefined)
    return unknown(`${path} is not there: the agent makes it when it starts`);
  if (socket.kind !== 'socket')
    return fault(`${path} is no socket`, 'Move it away; the agent never removes what is not its own.');
  const othersReach = (socket.mode & 0o007) !== 0 && (directory.mode & 0o001) !== 0;
  if (!othersReach) return ok(`${path} is reached by its owner only`);
  return fault(`${path} can be opened by every user, who may then mount any volume`, `chmod 700 ${dirname(path)}`);
}
