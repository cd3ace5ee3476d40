import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { CodedError, errorText } from '../../kit/coded-error.ts';
import { targetProblem } from '../../kit/mount-target.ts';
import { yamlValue } from '../../kit/yaml-value.ts';
import type { Reservation } from './mesos-messages.ts';
import type { OfferSettings } from './provider-state.ts';

const Path = { pattern: '^/' };
const SECONDS = { minimum: 1, maximum: 3600 };
const Weight = Type.Number({ exclusiveMinimum: 0 });

/** `provider.yml`. Its reference is made from this. */
export const ProviderYml = Type.Object(
  {
    agent: Type.Optional(
      Type.String({ description: 'The Mesos agent, http:// or https://. Needed, here or as a flag.' }),
    ),
    'ca-certificate': Type.Optional(
      Type.String({ ...Path, description: 'Certificates to trust, for https.', default: "the system's" }),
    ),
    credential: Type.Optional(
      Type.String({ ...Path, description: 'JSON file with `principal` and `secret`: HTTP basic.', default: 'none' }),
    ),
    'token-file': Type.Optional(Type.String({ ...Path, description: 'File with a bearer token.', default: 'none' })),
    type: Type.Optional(
      Type.String({ description: 'Of the provider. It must never change.', default: 'io.flocker.rp' }),
    ),
    name: Type.Optional(
      Type.String({ description: 'Of the provider. It must never change.', default: 'flocker_<host name>' }),
    ),
    vendor: Type.Optional(Type.String({ minLength: 1, description: 'Of all disks.', default: 'io.flocker' })),
    role: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'Everything is offered reserved (dynamically) for this role.',
        default: 'none',
      }),
    ),
    'default-reservations': Type.Optional(
      Type.Array(
        Type.Object(
          {
            type: Type.Union([Type.Literal('STATIC'), Type.Literal('DYNAMIC')]),
            role: Type.String({ minLength: 1 }),
            principal: Type.Optional(Type.String()),
          },
          { additionalProperties: false },
        ),
        { description: 'Instead of `role`: a list of `type`, `role`, `principal`.', default: 'none' },
      ),
    ),
    profiles: Type.Optional(
      Type.Union([Type.Array(Type.String()), Type.Record(Type.String(), Weight)], {
        description: 'A list of profiles to offer, or profile → weight.',
        default: 'all, equally',
      }),
    ),
    share: Type.Optional(
      Type.Number({
        exclusiveMinimum: 0,
        maximum: 1,
        description: 'Part of the pool that this node may offer.',
        default: 1,
      }),
    ),
    'offer-existing': Type.Optional(
      Type.Boolean({ description: 'Whether volumes of this node that nobody uses are offered.', default: false }),
    ),
    'storage-state': Type.Optional(
      Type.Union([Type.String(), Type.Literal(false)], {
        description: 'Address in the label `flocker.storage-state`; `false` for none.',
        default: 'the control service',
      }),
    ),
    'state-path': Type.Optional(
      Type.String({
        ...Path,
        description: 'Identity and operations. It must survive everything.',
        default: '/var/lib/flocker/provider',
      }),
    ),
    'mount-root': Type.Optional(
      Type.String({
        ...Path,
        description: 'Disks are mounted at `<mount-root>/<id>/target`.',
        default: '/var/lib/flocker/mesos',
      }),
    ),
    socket: Type.Optional(
      Type.String({ ...Path, description: 'Of the node agent.', default: '/run/flocker/agent.sock' }),
    ),
    'certificates-directory': Type.Optional(
      Type.String({ ...Path, description: 'Where the certificates are.', default: '/etc/flocker' }),
    ),
    'control-service': Type.Optional(
      Type.Object(
        {
          hostname: Type.String({
            minLength: 1,
            description: 'Name or address of the control service; of several, with commas between them.',
            default: 'as in agent.yml',
          }),
          'rest-port': Type.Optional(
            Type.Integer({ minimum: 1, maximum: 65535, description: 'Its REST API.', default: 4523 }),
          ),
        },
        { additionalProperties: false },
      ),
    ),
    'publish-timeout': Type.Optional(
      Type.Integer({
        ...SECONDS,
        description: 'Seconds until a mount that cannot be had fails the task.',
        default: 120,
      }),
    ),
    'operation-timeout': Type.Optional(
      Type.Integer({ ...SECONDS, description: 'Seconds until an operation fails.', default: 600 }),
    ),
    'look-every': Type.Optional(
      Type.Integer({ ...SECONDS, description: 'Seconds between two looks at the storage.', default: 30 }),
    ),
    'adjust-every': Type.Optional(
      Type.Integer({
        ...SECONDS,
        description: 'Least seconds between two changes of what is offered.',
        default: 60,
      }),
    ),
  },
  { additionalProperties: false },
);
export type ProviderYml = Static<typeof ProviderYml>;
const providerYml = Compile(ProviderYml);

/** Settings that do not work together, or a `provider.yml` that does not say what it must. */
export class ProviderConfigError extends CodedError<'bad_provider_yml'> {
  override readonly name = 'ProviderConfigError';
}

/** Reads the text of a `provider.yml`. Throws a {@link ProviderConfigError} with the place of the fault. */
export function parseProviderYml(text: string, path: string): ProviderYml {
  let parsed: unknown;
  try {
    parsed = yamlValue(text) ?? {};
  } catch (error) {
    throw new ProviderConfigError('bad_provider_yml', `${path}: ${errorText(error)}`, { cause: error });
  }
  if (providerYml.Check(parsed)) return parsed;
  const faults = providerYml.Errors(parsed).map(({ instancePath, message }) => `${instancePath || '/'} ${message}`);
  throw new ProviderConfigError('bad_provider_yml', `${path}: ${faults.join('; ')}`);
}

/** Where things are unless it is said otherwise. */
export interface ProviderDefaults {
  readonly name: string;
  readonly statePath: string;
  readonly mountRoot: string;
}

export interface ProviderConfig {
  readonly agentUrl: string;
  readonly caPath: string | undefined;
  readonly credentialPath: string | undefined;
  readonly tokenPath: string | undefined;
  readonly type: string;
  readonly name: string;
  readonly statePath: string;
  readonly offers: OfferSettings;
  readonly publishTimeoutMs: number;
  readonly operationTimeoutMs: number;
  readonly lookEveryMs: number;
}

/** What a provider is told. Throws a {@link ProviderConfigError}. */
export function providerConfig(yml: ProviderYml, defaults: ProviderDefaults): ProviderConfig {
  const { name = defaults.name, type = 'io.flocker.rp', 'mount-root': mountRoot = defaults.mountRoot } = yml;
  if (yml.agent === undefined || !isHttpUrl(yml.agent))
    throw fault(
      `agent: ${JSON.stringify(yml.agent ?? null)} is no address of a Mesos agent; write it as http://10.0.0.1:5051`,
    );
  if (!/^[A-Za-z0-9_]+$/.test(name))
    throw fault(`name: ${JSON.stringify(name)} can have letters, digits and underscores only`);
  if (!/^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$/.test(type))
    throw fault(`type: ${JSON.stringify(type)} has to be names with dots between them, as io.flocker.rp`);
  if (yml.credential !== undefined && yml['token-file'] !== undefined)
    throw fault('credential and token-file cannot both be given');
  const problem = targetProblem(mountRoot);
  if (problem !== undefined) throw fault(`mount-root: ${mountRoot} ${problem}`);
  const statePath = (yml['state-path'] ?? defaults.statePath).replace(/\/+$/, '');
  return {
    agentUrl: yml.agent,
    caPath: yml['ca-certificate'],
    credentialPath: yml.credential,
    tokenPath: yml['token-file'],
    type,
    name,
    statePath,
    offers: {
      vendor: yml.vendor ?? 'io.flocker',
      defaultReservations: reservationsOf(yml),
      mountRoot: mountRoot.replace(/\/+$/, ''),
      profiles: weightsOf(yml.profiles),
      share: yml.share ?? 1,
      offerExisting: yml['offer-existing'] ?? false,
      adjustEveryMs: (yml['adjust-every'] ?? 60) * 1000,
    },
    publishTimeoutMs: (yml['publish-timeout'] ?? 120) * 1000,
    operationTimeoutMs: (yml['operation-timeout'] ?? 600) * 1000,
    lookEveryMs: (yml['look-every'] ?? 30) * 1000,
  };
}

function reservationsOf({ role, 'default-reservations': given }: ProviderYml): readonly Reservation[] {
  if (given !== undefined && role !== undefined) throw fault('role and default-reservations cannot both be given');
  const reservations = given ?? (role === undefined ? [] : [{ type: 'DYNAMIC' as const, role }]);
  reservations.forEach(({ type, role: own }, index) => {
    const parent = reservations[index - 1]?.role;
    if (own === '*') throw fault('default-reservations: nothing can be reserved for the role *');
    if (index > 0 && type === 'STATIC') throw fault('default-reservations: only the first can be STATIC');
    if (parent !== undefined && !own.startsWith(`${parent}/`))
      throw fault(`default-reservations: ${own} has to be a role below ${parent}, as ${parent}/${own}`);
  });
  return reservations;
}

function weightsOf(profiles: ProviderYml['profiles']): ReadonlyMap<string, number> | null {
  if (profiles === undefined) return null;
  const pairs = Array.isArray(profiles) ? profiles.map((profile) => [profile, 1] as const) : Object.entries(profiles);
  return new Map(pairs);
}

function isHttpUrl(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url !== undefined && /^https?:$/.test(url.protocol) && url.hostname !== '';
}

function fault(message: string): ProviderConfigError {
  return new ProviderConfigError('bad_provider_yml', message);
}
