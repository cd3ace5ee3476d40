import { open } from 'node:fs/promises';
import type { Clock } from '../../kit/clock.ts';
import { CodedError } from '../../kit/coded-error.ts';
import { ProgramError, runProgram } from './run-program.ts';

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
const CODES = { program_missing: 'program_missing', no_space: 'no_space', program_failed: 'mkfs_failed' } as const;

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
  const { program: name, options, debianPackage } = RECIPES[type];
  try {
    await runProgram({ name, debianPackage }, [...options, path], { ...surroundings, timeoutMs: MKFS_TIMEOUT_MS });
  } catch (error) {
    if (!(error instanceof ProgramError)) throw error;
    const advice = error.code === 'program_missing' ? ' or choose another filesystem' : '';
    throw new FilesystemError(CODES[error.code], `${error.message}${advice}`, { cause: error });
  }
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
