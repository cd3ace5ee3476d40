import { rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { errorText } from '../../../kit/coded-error.ts';

/** Answers to commands by their names. */
export type Commands = Readonly<
  Record<string, (request: Readonly<Record<string, unknown>>) => Promise<Readonly<Record<string, unknown>>>>
>;

/**
 * Asks a process as Ceph's own tools do, at its "admin socket": a command of JSON that ends with a zero byte; the answer's length in four
 * bytes, and the answer.
 */
export function askSocket(
  path: string,
  request: Readonly<Record<string, unknown>>,
  signal: AbortSignal,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const abort = (): void => void socket.destroy(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
    const parts: Buffer[] = [];
    socket.on('connect', () => socket.write(`${JSON.stringify({ ...request, format: 'json' })}\0`));
    socket.on('data', (part: Buffer) => parts.push(part));
    socket.on('error', reject);
    socket.on('close', () => {
      signal.removeEventListener('abort', abort);
      const whole = Buffer.concat(parts);
      if (whole.length >= 4 && whole.length === 4 + whole.readUInt32BE(0)) resolve(whole.toString('utf8', 4));
      else reject(new Error(`${path} gave no whole answer`));
    });
  });
}

/** Answers there for as long as the process lives. A command that fails is answered with `error`. */
export async function answerSocket(path: string, commands: Commands): Promise<void> {
  await rm(path, { force: true });
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let text = '';
    socket.on('error', () => undefined);
    socket.setEncoding('utf8').on('data', (part: string) => {
      text += part;
      const end = text.indexOf('\0');
      if (end >= 0) void answer(socket, text.slice(0, end), commands);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
}

async function answer(socket: Socket, text: string, commands: Commands): Promise<void> {
  let result: Readonly<Record<string, unknown>>;
  try {
    const request = JSON.parse(text) as { readonly prefix?: unknown };
    const command = commands[String(request.prefix)];
    if (command === undefined) throw new Error(`there is no command ${String(request.prefix)}`);
    result = await command({ ...request });
  } catch (error) {
    result = { error: errorText(error) };
  }
  const body = Buffer.from(JSON.stringify(result));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  socket.end(Buffer.concat([length, body]));
}
