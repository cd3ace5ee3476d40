import { request } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';

const TIMEOUT_MS = 30_000;

export interface UnixAnswer {
  readonly status: number;
  readonly body: string;
}

/** One HTTP request on a unix socket; fails when the connection breaks or nothing comes for long. */
export function unixCall(
  socketPath: string,
  method: string,
  path: string,
  body?: string | Buffer,
  headers: Readonly<Record<string, string>> = { 'content-type': 'application/json' },
): Promise<UnixAnswer> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, method, path, headers, agent: false, signal: AbortSignal.timeout(TIMEOUT_MS) });
    asked.once('error', reject);
    asked.once('response', (answer) => {
      text(answer).then((said) => resolve({ status: answer.statusCode ?? 0, body: said }), reject);
    });
    asked.end(body);
  });
}

/** Writes bytes to a unix socket and reads until the other side closes, or `patienceMs` are over. */
export function unixBytes(socketPath: string, bytes: Buffer, patienceMs: number): Promise<'closed' | 'open'> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    const timer = setTimeout(() => {
      socket.destroy();
      resolve('open');
    }, patienceMs);
    socket.on('error', () => undefined);
    socket.once('close', () => {
      clearTimeout(timer);
      resolve('closed');
    });
    socket.resume();
    socket.write(bytes);
  });
}
