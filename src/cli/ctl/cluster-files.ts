import { type Static, type TSchema, Type } from 'typebox';
import { Value } from 'typebox/value';
import { errorText } from '../../kit/coded-error.ts';
import { CtlError } from './ctl-error.ts';
import { readIfThere } from './read-if-there.ts';

/** The part of the `cluster.json` of `flocker up` that a user of the API needs. */
const ClusterJsonFile = Type.Object({
  control: Type.Object({
    url: Type.String({ pattern: '^https://' }),
    /** Of control services that stand by. */
    other_urls: Type.Optional(Type.Array(Type.String({ pattern: '^https://' }))),
  }),
  tls: Type.Object({ ca: Type.String(), cert: Type.String(), key: Type.String() }),
});

/** The `cluster.yml` of Flocker's installers. */
const ClusterYmlFile = Type.Object({
  users: Type.Optional(Type.Array(Type.String(), { minItems: 1 })),
  control_node: Type.Optional(Type.String()),
});

/** The part of `agent.yml` (contract 3.1) that says where the control service is. */
const AgentYmlFile = Type.Object({
  'control-service': Type.Object({
    hostname: Type.String({ minLength: 1 }),
    'rest-port': Type.Optional(Type.Integer({ minimum: 1, maximum: 65535 })),
  }),
});

/** Fails with `bad_file` also when there is none. */
export async function readClusterJson(path: string): Promise<Static<typeof ClusterJsonFile>> {
  const text = await readIfThere(path);
  if (text === undefined)
    throw new CtlError('bad_file', `There is no file ${path}: is the cluster of "flocker up" elsewhere?`);
  return checked(ClusterJsonFile, path, () => JSON.parse(text) as unknown);
}

/** Undefined when there is no such file. */
export function readClusterYml(path: string): Promise<Static<typeof ClusterYmlFile> | undefined> {
  return readYaml(ClusterYmlFile, path);
}

/** Undefined when there is no such file. */
export function readAgentYml(path: string): Promise<Static<typeof AgentYmlFile> | undefined> {
  return readYaml(AgentYmlFile, path);
}

async function readYaml<T extends TSchema>(schema: T, path: string): Promise<Static<T> | undefined> {
  const text = await readIfThere(path);
  if (text === undefined) return undefined;
  const { parse } = await import('yaml');
  return checked(schema, path, () => parse(text) as unknown);
}

function checked<T extends TSchema>(schema: T, path: string, parse: () => unknown): Static<T> {
  let value: unknown;
  try {
    value = parse();
  } catch (error) {
    throw new CtlError('bad_file', `${path}: ${errorText(error)}`, { cause: error });
  }
  if (Value.Check(schema, value)) return value;
  const faults = Value.Errors(schema, value).map(({ instancePath, message }) => `${instancePath || '/'} ${message}`);
  throw new CtlError('bad_file', `${path}: ${faults.join('; ')}`);
}
