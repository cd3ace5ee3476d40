import { access, readFile } from 'node:fs/promises';
import { errorCode, errorText } from '../../kit/coded-error.ts';
import { CtlError } from './ctl-error.ts';

/** The text of a file; undefined when there is none. Fails with `bad_file` when it cannot be read. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw new CtlError('bad_file', `${path} cannot be read: ${errorText(error)}`, { cause: error });
  }
}

export async function fileExists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
