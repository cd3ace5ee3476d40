import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

/** The path of a program: what the environment variable `variable` names, or `name` on the PATH; undefined when it is not there. */
export async function findProgram(name: string, variable: string): Promise<string | undefined> {
  const named = process.env[variable];
  const candidates = (process.env['PATH'] ?? '').split(delimiter).map((directory) => join(directory, name));
  for (const path of named === undefined ? candidates : [named]) {
    const runs = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (runs) return path;
  }
  return undefined;
}
