import { chmod, lstat, mkdir, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { CodedError, errorCode } from './coded-error.ts';

/**
 * Makes room for a unix socket at `path`: its directory with mode 0700, and no socket of a process that is gone. A
 * `shared` directory is left as it is when it is there. Fails with `socket_in_use` when somebody answers there, with
 * `not_a_socket` when something else is in the way.
 */
export async function prepareSocketPath(
  path: string,
  { directory = 'ours' }: { readonly directory?: 'ours' | 'shared' } = {},
): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  if (directory === 'ours') await chmod(dirname(path), 0o700);
  const present = await lstat(path).catch(() => undefined);
  if (present === undefined) return;
  if (!present.isSocket()) throw new CodedError('not_a_socket', `${path} is in the way and is no socket; remove it`);
  if (await answers(path)) {
    throw new CodedError('socket_in_use', `another node agent listens on ${path}; stop it first`);
  }
  await unlink(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => {
      const code = errorCode(error);
      if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(false);
      else reject(error);
    });
  });
}
