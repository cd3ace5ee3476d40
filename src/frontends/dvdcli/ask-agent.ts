import type { Socket } from 'node:net';
import type { Clock } from '../../kit/clock.ts';

/**
 * - `away`: nobody listens there; nothing was asked.
 * - `lost`: the connection broke before the answer: nothing is known of what was done.
 * - `failed`: it cannot be asked.
 */
export type AgentAnswer =
  | { readonly kind: 'answer'; readonly status: number; readonly body: Readonly<Record<string, unknown>> }
  | { readonly kind: 'away' | 'lost' | 'failed'; readonly message: string };

const AWAY: ReadonlySet<unknown> = new Set(['ENOENT', 'ECONNREFUSED', 'EAGAIN']);

/**
 * One `POST` to the node agent; waits at most `timeoutMs`. HTTP by hand over `node:net`: loading `node:http` takes as long as
 * all the rest of dvdcli.
 */
export function askAgent(
  connect: (path: string) => Socket,
  socketPath: string,
  path: string,
  request: object,
  timeoutMs: number,
  clock: Clock,
): Promise<AgentAnswer> {
  return new Promise((resolve) => {
    const text = JSON.stringify(request);
    const chunks: Buffer[] = [];
    let problem: AgentAnswer | undefined;
    const socket = connect(socketPath);
    const cancel = clock.timer(timeoutMs, () => {
      problem = { kind: 'failed', message: `the node agent did not answer within ${Math.round(timeoutMs / 1000)} s` };
      socket.destroy();
    });
    socket.on('connect', () => {
      socket.write(
        `POST ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n` +
          `content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
      );
    });
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      problem ??= AWAY.has(error.code)
        ? { kind: 'away', message: `no node agent listens on ${socketPath} (${error.code}); is it running?` }
        : error.code === 'EACCES' || error.code === 'EPERM'
          ? { kind: 'failed', message: `this user may not open ${socketPath}; run as the user of the node agent` }
          : { kind: 'lost', message: `the node agent went away: ${error.message}` };
    });
    socket.on('close', () => {
      cancel();
      resolve(problem ?? parseAnswer(Buffer.concat(chunks)));
    });
  });
}

function parseAnswer(bytes: Buffer): AgentAnswer {
  const end = bytes.indexOf('\r\n\r\n');
  const head = bytes.subarray(0, Math.max(0, end)).toString('latin1');
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  const body = bytes.subarray(end + 4);
  if (end < 0 || length === undefined || body.length < Number(length))
    return { kind: 'lost', message: 'the node agent went away before it answered' };
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1]);
    if (typeof value === 'object' && value !== null && status >= 200)
      return { kind: 'answer', status, body: value as Readonly<Record<string, unknown>> };
  } catch {
    // As what is no object.
  }
  return { kind: 'failed', message: 'what listens on the socket is no node agent' };
}
