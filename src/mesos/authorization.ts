import { readFile } from 'node:fs/promises';
import { Type } from 'typebox';
import { Value } from 'typebox/value';
import { MesosError } from './mesos-error.ts';

const Credential = Type.Object({ principal: Type.String({ minLength: 1 }), secret: Type.String() });

/** Value of `Authorization` from a credential file as Mesos has it (JSON with principal and secret), or a file with a token. */
export async function readAuthorization(files: {
  readonly credentialPath: string | undefined;
  readonly tokenPath: string | undefined;
}): Promise<string | undefined> {
  if (files.tokenPath !== undefined) return `Bearer ${(await readFile(files.tokenPath, 'utf8')).trim()}`;
  if (files.credentialPath === undefined) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readFile(files.credentialPath, 'utf8'));
  } catch (error) {
    throw bad(files.credentialPath, error);
  }
  if (!Value.Check(Credential, parsed)) throw bad(files.credentialPath, undefined);
  return `Basic ${Buffer.from(`${parsed.principal}:${parsed.secret}`).toString('base64')}`;
}

function bad(path: string, cause: unknown): MesosError {
  return new MesosError(
    'bad_credential',
    `${path} cannot be read as a credential: it has to be {"principal": "…", "secret": "…"}`,
    { cause },
  );
}
