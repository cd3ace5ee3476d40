import { execFile } from 'node:child_process';
import { copyFile, mkdir, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Makes the root directory of a container image with these programs of the machine, the libraries they need, and no more. */
export async function makeImage(directory: string, programs: readonly string[]): Promise<void> {
  await mkdir(join(directory, 'bin'), { recursive: true });
  const libraries = new Set<string>();
  for (const program of programs) {
    const path = (await run('sh', ['-c', `command -v ${program}`])).stdout.trim();
    await copyFile(await realpath(path), join(directory, 'bin', basename(program)));
    const { stdout } = await run('ldd', [path]);
    for (const [, library] of stdout.matchAll(/(\/\S+) \(0x/g)) if (library !== undefined) libraries.add(library);
  }
  for (const library of libraries) {
    await mkdir(join(directory, dirname(library)), { recursive: true });
    await copyFile(await realpath(library), join(directory, library));
  }
}
