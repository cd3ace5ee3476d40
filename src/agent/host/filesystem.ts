import { spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, errorCode } from '../../kit/coded-error.ts';
import { withDeadline } from '../../kit/deadline.ts';

export const FILESYSTEM_TYPES = ['ext4', 'xfs'] as const;
export type FilesystemType = (typeof FILESYSTEM_TYPES)[number];

/** Why a filesystem was not made. */
class FilesystemError extends CodedError<'not_blank' | 'program_missing' | 'no_space' | 'mkfs_failed'> {
  override readonly name = 'FilesystemError';
}

interface Recipe {
  readonly program: string;
  readonly debianPackage: string;
  readonly options: readonly string[];
  readonly minimumBytes: number;
}

/** Inode tables and journal of a sparse file read as zeros already; writing or discarding them would only cost time. */
const RECIPES: Readonly<Record<FilesystemType | 'btrfs', Recipe>> = {
  ext4: {
    program: 'mkfs.ext4',
    debianPackage: 'e2fsprogs',
    options: ['-q', '-F', '-m', '0', '-E', 'lazy_itable_init=1,lazy_journal_init=1,nodiscard'],
    // mke2fs makes smaller ones without a journal.
    minimumBytes: 8 * 2 ** 20,
  },
  xfs: { program: 'mkfs.xfs', debianPackage: 'xfsprogs', options: ['-q', '-K'], minimumBytes: 300 * 2 ** 20 },
  // Two copies of the metadata, also on one device, as mkfs has it by itself.
  btrfs: { program: 'mkfs.btrfs', debianPackage: 'btrfs-progs', options: ['-q', '-K'], minimumBytes: 128 * 2 ** 20 },
};

/** Superblocks of all common filesystems and partition tables begin in this many bytes. */
const SIGNATURE_BYTES = 128 * 1024;
const MKFS_TIMEOUT_MS = 120_000;
const STDERR_CHARACTERS = 2000;
/** A daemon's PATH often lacks the sbin directories; mkfs reads its own configuration from the environment. */
const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin', LC_ALL: 'C' };

/** Smallest size in bytes that {@link makeFilesystem} takes for `type`. */
export function minimumFilesystemBytes(type: FilesystemType | 'btrfs'): number {
  return RECIPES[type].minimumBytes;
}

/**
 * Formats a file that the caller has just made, or a device, and refuses one that holds anything. The file's bytes are not yet
 * durable afterwards. An abort kills mkfs and waits for its end.
 */
export async function makeFilesystem(
  path: string,
  type: FilesystemType | 'btrfs',
  surroundings: { readonly clock: Clock; readonly signal: AbortSignal; readonly searchPath?: string },
): Promise<void> {
  await refuseUnlessBlank(path);
  const { program, options, debianPackage } = RECIPES[type];
  const environment = { ...ENVIRONMENT, PATH: surroundings.searchPath ?? ENVIRONMENT.PATH };
  let ended: Ended;
  try {
    ended = await withDeadline(
      surroundings.clock,
      MKFS_TIMEOUT_MS,
      `${program} ${path}`,
      surroundings.signal,
      (signal) => run(program, [...options, path], environment, signal),
    );
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    const advice = `install it (Debian: apt-get install ${debianPackage}) or choose another filesystem`;
    throw new FilesystemError('program_missing', `${program} is not installed on this node: ${advice}`, {
      cause: error,
    });
  }
  if (ended.exitCode === 0) return;
  const said = ended.stderr.trim() || `ended with ${ended.exitCode ?? 'a signal'}`;
  const code = /no space left|quota exceeded/i.test(said) ? 'no_space' : 'mkfs_failed';
  throw new FilesystemError(code, `${program} ${path}: ${said}`);
}

async function refuseUnlessBlank(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    const start = Buffer.alloc(SIGNATURE_BYTES);
    await file.read(start, 0, SIGNATURE_BYTES, 0);
    if (start.some((byte) => byte !== 0))
      throw new FilesystemError('not_blank', `${path} is not blank: not formatting it`);
  } finally {
    await file.close();
  }
}

interface Ended {
  readonly exitCode: number | null;
  readonly stderr: string;
}

function run(
  program: string,
  parameters: readonly string[],
  environment: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const child = spawn(program, parameters, { stdio: ['ignore', 'ignore', 'pipe'], env: environment });
    const kill = (): void => void child.kill('SIGKILL');
    signal.addEventListener('abort', kill, { once: true });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-STDERR_CHARACTERS);
    });
    child.once('error', (error) => {
      signal.removeEventListener('abort', kill);
      reject(error);
    });
    child.once('close', (exitCode) => {
      signal.removeEventListener('abort', kill);
      if (signal.aborted) reject(signal.reason as Error);
      else resolve({ exitCode, stderr });
    });
  });
}
