import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { promisify } from 'node:util';

/** Numbers of a user of this node; undefined when it does not know the user. */
export type FindUser = (name: string) => Promise<Owner | undefined>;

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

const LOOK_UP_TIMEOUT_MS = 5_000;
const run = promisify(execFile);

/** Asks the node's user database, whatever it is (nsswitch.conf(5)). */
export const findUser: FindUser = async (name) => {
  try {
    const { stdout } = await run('getent', ['passwd', '--', name], { timeout: LOOK_UP_TIMEOUT_MS });
    const [, , uid, gid] = stdout.split(':');
    return uid === undefined || gid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) };
  } catch {
    return undefined;
  }
};

/**
 * Gives a volume that nobody has used to the task's user: to the sandbox's owner, which is the same, where the node's
 * user database does not know the name. A volume that holds anything, or that somebody owns, stays as it is.
 */
export async function settleOwner(
  path: string,
  task: { readonly user: string; readonly sandbox: string; readonly createdVolume: boolean },
  find: FindUser,
): Promise<void> {
  if (task.user === 'root') return;
  const root = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const { uid, gid, mode } = await root.stat();
    // Open to everybody is how the node agent leaves a new volume, also one whose maker failed before it came here.
    const unowned = uid === 0 && gid === 0 && (task.createdVolume || (mode & 0o7777) === 0o777);
    if (unowned && (await isEmpty(root))) {
      const { uid: toUid, gid: toGid } = (await find(task.user)) ?? (await stat(task.sandbox));
      await root.chown(toUid, toGid);
    }
  } finally {
    await root.close();
  }
}

async function isEmpty(root: FileHandle): Promise<boolean> {
  const entries = await readdir(`/proc/self/fd/${root.fd}`);
  return entries.every((name) => name === 'lost+found');
}
