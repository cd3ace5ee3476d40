import { readFile } from 'node:fs/promises';
import { Type } from 'typebox';
import { Value } from 'typebox/value';
import { CodedError, errorCode } from '../kit/coded-error.ts';

/** Socket of the one agent of a machine. */
const DEFAULT_AGENT_SOCKET = '/run/flocker/agent.sock';

/** How a user said which agent to ask; the first that is given counts. */
export interface AgentChoice {
  /** Path of a socket. */
  readonly socket: string | undefined;
  /** Path of the `cluster.json` of `flocker up`; for `node`. */
  readonly cluster: string | undefined;
  /** Number from 1, a host, or a unique prefix of a UUID, in `cluster`. */
  readonly node: string | undefined;
  /** Path of a socket, from the environment. */
  readonly environmentSocket: string | undefined;
}

/** A choice that names no agent. */
class AgentChoiceError extends CodedError<'no_such_agent'> {
  override readonly name = 'AgentChoiceError';
}

const ClusterNodes = Type.Object({
  nodes: Type.Array(Type.Object({ uuid: Type.String(), host: Type.String(), socket: Type.String() })),
});

/** Path of the chosen agent's socket. */
export async function chooseAgentSocket(choice: AgentChoice, defaultCluster: string): Promise<string> {
  if (choice.socket !== undefined) return choice.socket;
  if (choice.cluster === undefined && choice.node === undefined)
    return choice.environmentSocket ?? DEFAULT_AGENT_SOCKET;
  return (await chooseClusterNode(choice.cluster ?? defaultCluster, choice.node ?? '1')).socket;
}

/** A node of the `cluster.json` at `path` by its number from 1, its host, or a unique beginning of its UUID. */
export async function chooseClusterNode(
  path: string,
  node: string,
): Promise<{ readonly number: number; readonly socket: string }> {
  const { nodes } = await readNodes(path);
  const matches = /^\d{1,3}$/.test(node)
    ? nodes.filter((_one, index) => index + 1 === Number(node))
    : nodes.filter(({ uuid, host }) => host === node || uuid.startsWith(node.toLowerCase()));
  const [match, another] = matches;
  if (match !== undefined && another === undefined) return { number: nodes.indexOf(match) + 1, socket: match.socket };
  const known = nodes.map(({ uuid, host }, index) => `${index + 1} (${host}, ${uuid})`).join(', ');
  const fault = match === undefined ? 'is no node' : 'is more than one node';
  throw new AgentChoiceError('no_such_agent', `${node} ${fault} of ${path}. Its nodes are: ${known}.`);
}

async function readNodes(path: string): Promise<{ nodes: { uuid: string; host: string; socket: string }[] }> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    const reason = errorCode(error) === 'ENOENT' ? 'there is no such file' : 'it cannot be read';
    throw new AgentChoiceError(
      'no_such_agent',
      `${path}: ${reason}. Give the cluster.json of a cluster that "flocker up" runs with --cluster, or a --socket.`,
      { cause: error },
    );
  }
  if (Value.Check(ClusterNodes, parsed)) return parsed;
  throw new AgentChoiceError('no_such_agent', `${path} is not the cluster.json of "flocker up".`);
}
