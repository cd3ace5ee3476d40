import { access, readFile } from 'node:fs/promises';
import { writeFileDurably } from '../../../kit/atomic-file.ts';
import { CodedError, errorText } from '../../../kit/coded-error.ts';
import { type Backup, BackupError, backupText, parseBackup } from './backup-file.ts';
import { copyContents } from './copy-contents.ts';

/** A backup that could not be written. */
export class BackUpError extends CodedError<'backup_exists' | 'backup_not_written' | 'no_store'> {
  override readonly name = 'BackUpError';
}

interface BackUpOptions {
  /** The store. */
  readonly directory: string;
  /** The file to make. */
  readonly path: string;
  /** Where copies of the store are made for the time being. */
  readonly scratchParent: string;
  readonly wallMs: number;
}

/** Writes all that is in a store to a new file, durably and with mode 0600. A control service may have the store open. */
export async function backUpStore({ directory, path, scratchParent, wallMs }: BackUpOptions): Promise<Backup> {
  await requireNew(path);
  if (!(await isThere(directory))) {
    throw new BackUpError(
      'no_store',
      `There is no store in ${directory}: is this the --data-path of the control service?`,
    );
  }
  try {
    await access(scratchParent);
  } catch (error) {
    throw new BackUpError('backup_not_written', `No backup can be written to ${path}: ${errorText(error)}.`, {
      cause: error,
    });
  }
  return await writeBackup(path, async () => {
    const { head, values } = await copyContents(directory, scratchParent);
    return { clusterId: head.clusterId, revision: head.revision, takenAtMs: wallMs, values };
  });
}

/** Writes what `read` finds to a new file, durably and with mode 0600. */
export async function writeBackup(path: string, read: () => Promise<Backup>): Promise<Backup> {
  await requireNew(path);
  const backup = await read();
  await writeFileDurably(path, backupText(backup), 0o600);
  return backup;
}

async function requireNew(path: string): Promise<void> {
  if (!(await isThere(path))) return;
  throw new BackUpError('backup_exists', `${path} exists and is not replaced: name a new file.`);
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** The backup in a file, every byte of it checked. Throws {@link BackupError}. */
export async function readBackup(path: string): Promise<Backup> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new BackupError('bad_backup', `${path} cannot be read: ${errorText(error)}.`, { cause: error });
  }
  return parseBackup(text, path);
}
