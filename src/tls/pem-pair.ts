import { type FileHandle, open, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncDirectory } from '../kit/atomic-file.ts';
import { errorCode } from '../kit/coded-error.ts';
import { systemErrorText, TlsError } from './tls-error.ts';

/** Paths of a certificate and of its private key. */
export interface PairPaths {
  readonly certificatePath: string;
  readonly keyPath: string;
}

interface NewFile {
  readonly path: string;
  readonly content: string;
  readonly reason: string;
}

/**
 * Writes `<baseName>.crt` and `<baseName>.key` with mode 0600, durably. Never replaces a file: when either exists, or
 * cannot be written, neither is left behind.
 */
export async function writePemPair(
  directory: string,
  baseName: string,
  pem: { readonly certificate: string; readonly key: string },
): Promise<PairPaths> {
  const paths = { certificatePath: join(directory, `${baseName}.crt`), keyPath: join(directory, `${baseName}.key`) };
  const written: string[] = [];
  try {
    await writeTogether(
      [
        { path: paths.certificatePath, content: pem.certificate, reason: 'Unable to write certificate file.' },
        { path: paths.keyPath, content: pem.key, reason: 'Unable to write private key file.' },
      ],
      written,
    );
    await syncDirectory(dirname(paths.certificatePath));
  } catch (error) {
    for (const path of written) await unlink(path).catch(() => undefined);
    throw error;
  }
  return paths;
}

/** Claims every name before writing the first byte. Paths are added to `made` as they come to exist. */
async function writeTogether(files: readonly NewFile[], made: string[]): Promise<void> {
  const opened: { readonly file: NewFile; readonly handle: FileHandle }[] = [];
  try {
    for (const file of files) {
      opened.push({ file, handle: await explained(file, () => open(file.path, 'wx', 0o600)) });
      made.push(file.path);
    }
    for (const { file, handle } of opened) {
      await explained(file, async () => {
        await handle.writeFile(file.content);
        await handle.sync();
      });
    }
  } finally {
    for (const { handle } of opened) await handle.close();
  }
}

async function explained<Result>(file: NewFile, act: () => Promise<Result>): Promise<Result> {
  try {
    return await act();
  } catch (error) {
    const code = errorCode(error) === 'EEXIST' ? 'file_exists' : 'file_unwritable';
    throw new TlsError(code, `${file.reason} ${systemErrorText(error)} ${file.path}`, { cause: error });
  }
}
