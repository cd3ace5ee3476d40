import { request } from 'node:http';
import { CodedError, errorCode, errorText } from '../../kit/coded-error.ts';
import { type NodeId, parseNodeId } from '../../kit/ids.ts';
import type { Disk } from './provider-state.ts';

/**
 * - `away`: nobody listens, or the node agent went away before it answered, or it has no answer from the control service:
 *   the same again is fine, and may succeed.
 * - `refused`: it answered, and would not.
 */
type NodeAgentErrorCode = 'away' | 'refused';

/** A request to the node agent that did not succeed. */
export class NodeAgentError extends CodedError<NodeAgentErrorCode> {
  override readonly name = 'NodeAgentError';
}

/** The node agent's part of the provider, as the provider asks for it. Fails with a {@link NodeAgentError}. */
export interface NodeAgent {
  /** Which node this is, and whether it can mount disks. */
  node(signal: AbortSignal): Promise<{ readonly id: NodeId; readonly mounts: boolean }>;
  mount(disk: Disk, timeoutMs: number, signal: AbortSignal): Promise<string>;
  wipe(disk: Disk, timeoutMs: number, signal: AbortSignal): Promise<void>;
  unmount(disk: Disk, timeoutMs: number, signal: AbortSignal): Promise<void>;
}

/** Codes of the node agent's API for what passes by itself. */
const PASSING: ReadonlySet<unknown> = new Set([
  'unreachable',
  'timed_out',
  'cancelled',
  'released',
  'in_use',
  'leased_elsewhere',
]);

export function connectNodeAgent(socketPath: string): NodeAgent {
  const disk = ({ id, volume, root }: Disk, timeoutMs: number): object => ({
    volume,
    dataset_id: id,
    root,
    timeout_ms: Math.max(1, Math.min(3_600_000, Math.floor(timeoutMs))),
  });
  const ask = (name: string, body: object, signal: AbortSignal): Promise<Readonly<Record<string, unknown>>> =>
    post(socketPath, `/v1/resource-provider/${name}`, body, signal);
  return {
    node: async (signal) => {
      const { node_uuid: uuid, mounts } = await ask('node', {}, signal);
      const id = parseNodeId(String(uuid));
      if (id === undefined) throw new NodeAgentError('refused', `what listens on ${socketPath} is no node agent`);
      return { id, mounts: mounts === true };
    },
    mount: async (one, timeoutMs, signal) => String((await ask('mount', disk(one, timeoutMs), signal))['path']),
    wipe: async (one, timeoutMs, signal) => void (await ask('wipe', disk(one, timeoutMs), signal)),
    unmount: async (one, timeoutMs, signal) => void (await ask('unmount', disk(one, timeoutMs), signal)),
  };
}

function post(
  socketPath: string,
  path: string,
  body: object,
  signal: AbortSignal,
): Promise<Readonly<Record<string, unknown>>> {
  const text = JSON.stringify(body);
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => reject(signal.aborted ? (signal.reason as Error) : failure(socketPath, error));
    const sent = request({ socketPath, method: 'POST', path, headers, agent: false, signal }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', fail);
      response.on('end', () => {
        const answer = parse(Buffer.concat(chunks).toString('utf8'));
        if (answer !== undefined && response.statusCode === 200) return resolve(answer);
        const code = PASSING.has(answer?.['code']) ? 'away' : 'refused';
        const said = answer?.['message'];
        const strange = `it answered ${response.statusCode}; is it an older node agent?`;
        return reject(new NodeAgentError(code, typeof said === 'string' ? said : strange));
      });
    });
    sent.on('error', fail);
    sent.end(text);
  });
}

function failure(socketPath: string, error: Error): NodeAgentError {
  const code = errorCode(error);
  if (code === 'EACCES' || code === 'EPERM')
    return new NodeAgentError('refused', `this user may not open ${socketPath}; run as the user of the node agent`);
  const what = code === 'ENOENT' || code === 'ECONNREFUSED' ? `nobody listens on ${socketPath}` : errorText(error);
  return new NodeAgentError('away', `the node agent is away: ${what}`, { cause: error });
}

function parse(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
}
