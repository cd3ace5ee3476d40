import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { CodedError, errorText } from '../kit/coded-error.ts';
import { splitHosts } from '../kit/host-names.ts';
import { yamlValue } from '../kit/yaml-value.ts';
import { type IsolatorConfig, IsolatorSection, readIsolatorSection } from './isolator-section.ts';

const PORT = { minimum: 1, maximum: 65_535 };

const PathSetting = (
  description: string,
  byDefault: string,
): ReturnType<typeof Type.Optional<ReturnType<typeof Type.String>>> =>
  Type.Optional(Type.String({ pattern: '^/', description, default: byDefault }));

/** `agent.yml` (contract 3.1) with our own keys: `control-service.rest-port`, `node` and `isolator`. Its reference is made from this. */
export const AgentYml = Type.Object({
  version: Type.Literal(1, { description: 'Of the format: 1.' }),
  'control-service': Type.Object({
    hostname: Type.String({
      minLength: 1,
      description: 'Name or address of the control service; of several, with commas between them.',
    }),
    port: Type.Optional(Type.Integer({ ...PORT, description: 'Its port for agents.', default: 4524 })),
    'rest-port': Type.Optional(Type.Integer({ ...PORT, description: 'Its REST API.', default: 4523 })),
  }),
  dataset: Type.Optional(
    Type.Object(
      {
        backend: Type.String({ minLength: 1 }),
        mount_root: PathSetting('Volumes are mounted at `<mount_root>/<dataset id>`.', '/flocker'),
      },
      { description: 'The storage of this node; see below.' },
    ),
  ),
  node: Type.Optional(
    Type.Object(
      {
        'state-path': PathSetting('Who holds volumes here. It must survive a reboot.', '/var/lib/flocker/agent'),
        socket: PathSetting('For `flocker run`, dvdcli and other programs on this machine.', '/run/flocker/agent.sock'),
        'isolator-socket': PathSetting("For the Mesos isolator's module.", '/run/flocker/isolator.sock'),
        'docker-socket': Type.Optional(
          Type.Union([Type.String({ pattern: '^/' }), Type.Literal(false)], {
            description: 'Of the Docker volume plugin; `false` for none.',
            default: '/run/docker/plugins/flocker.sock and /run/docker/plugins/flocker/flocker.sock',
          }),
        ),
        'csi-socket': Type.Optional(
          Type.Union([Type.String({ pattern: '^/' }), Type.Literal(false)], {
            description: 'Of the CSI plugin, in a directory with mode 0700; `false` for none.',
            default: '/run/flocker/csi.sock',
          }),
        ),
        'docker-remove': Type.Optional(
          Type.Union([Type.Literal('delete'), Type.Literal('keep')], {
            description: 'What `docker volume rm` does to the volume.',
            default: 'delete',
          }),
        ),
        'dvdcli-overwritefs': Type.Optional(
          Type.Boolean({
            description: 'Whether `overwritefs=true` of dvdcli may make volumes anew, which loses what is on them.',
            default: false,
          }),
        ),
        address: Type.Optional(
          Type.String({
            description: "Source address towards the control service, and with it the node's `host`.",
            default: 'as the machine chooses',
          }),
        ),
        'copy-port': Type.Optional(
          Type.Integer({
            minimum: 0,
            maximum: 65_535,
            description:
              'Where other nodes fetch copies of volumes that move to their pool, with the certificates of nodes; 0 for any that is ' +
              'free. On `node.address`, or on all addresses. Only with the btrfs backend.',
            default: 4525,
          }),
        ),
        'shared-machine': Type.Optional(
          Type.Boolean({
            description: 'Several agents run on this machine: each gets an era of its own.',
            default: false,
          }),
        ),
        'storage-report-seconds': Type.Optional(
          Type.Integer({
            minimum: 1,
            maximum: 86_400,
            description: 'Time between two looks at how full pool and volumes are, when nothing happens.',
            default: 60,
          }),
        ),
      },
      { additionalProperties: false },
    ),
  ),
  isolator: Type.Optional(IsolatorSection),
});
const agentYml = Compile(AgentYml);

/** Where Docker looks for a plugin `flocker`, and where Flocker's own had its socket. */
const DOCKER_SOCKETS = ['/run/docker/plugins/flocker.sock', '/run/docker/plugins/flocker/flocker.sock'];

/** What an agent is told by its `agent.yml`. */
export interface AgentConfig {
  readonly control: { readonly hostnames: readonly string[]; readonly agentPort: number; readonly restPort: number };
  /** The backend's section, or undefined for an agent that only serves volumes of a foreign Flocker. */
  readonly dataset: Readonly<Record<string, unknown>> | undefined;
  /** Volumes are mounted at `<mountRoot>/<dataset id>`. */
  readonly mountRoot: string;
  /** Directory of the ledger of holders. */
  readonly statePath: string;
  /** Directory of second, read-only mounts of volumes. */
  readonly readOnlyPath: string;
  /** Directory of links that say where disks of the Mesos resource provider are mounted. */
  readonly diskPlacesPath: string;
  /** Unix socket for programs on this machine. */
  readonly socketPath: string;
  /** Unix socket for the Mesos isolator's module. */
  readonly isolatorSocketPath: string;
  readonly isolator: IsolatorConfig;
  readonly docker: DockerConfig;
  /** Unix socket of the CSI plugin; undefined for none. */
  readonly csiSocketPath: string | undefined;
  /** Whether `overwritefs=true` of dvdcli may make volumes anew, which loses what is on them. */
  readonly allowOverwrite: boolean;
  /** Source address of the connection to the control service, and with it the node's `host`. */
  readonly address: string | undefined;
  /** Where other nodes fetch copies of volumes; 0 for any port that is free. */
  readonly copyPort: number;
  /** Several agents run on this machine: the era is made of the boot id and the node's UUID. */
  readonly sharedMachine: boolean;
  /** Time between two looks at how full pool and volumes are, when nothing happens here; milliseconds. */
  readonly storagePaceMs: number;
}

interface DockerConfig {
  /** Unix sockets of the volume plugin. */
  readonly socketPaths: readonly string[];
  /** The operator named the socket: an agent that cannot make it must not start. */
  readonly required: boolean;
  readonly remove: 'delete' | 'keep';
}

/** An `agent.yml` that does not say what it must. */
class AgentConfigError extends CodedError<'bad_agent_yml'> {
  override readonly name = 'AgentConfigError';
}

/** Reads the text of an `agent.yml`. Throws {@link AgentConfigError} with the place of the fault. */
export function parseAgentConfig(text: string, path: string): AgentConfig {
  let parsed: unknown;
  try {
    parsed = yamlValue(text);
  } catch (error) {
    throw new AgentConfigError('bad_agent_yml', `${path}: ${errorText(error)}`, { cause: error });
  }
  if (!agentYml.Check(parsed)) {
    const faults = agentYml.Errors(parsed).map(({ instancePath, message }) => `${instancePath || '/'} ${message}`);
    throw new AgentConfigError('bad_agent_yml', `${path}: ${faults.join('; ')}`);
  }
  const file: Static<typeof AgentYml> = parsed;
  const { mount_root: mountRoot = '/flocker', ...backend } = file.dataset ?? {};
  const statePath = file.node?.['state-path'] ?? '/var/lib/flocker/agent';
  return {
    control: {
      hostnames: splitHosts(file['control-service'].hostname),
      agentPort: file['control-service'].port ?? 4524,
      restPort: file['control-service']['rest-port'] ?? 4523,
    },
    dataset: file.dataset === undefined ? undefined : backend,
    mountRoot,
    statePath,
    readOnlyPath: `${statePath.replace(/\/+$/, '')}/read-only`,
    diskPlacesPath: `${statePath.replace(/\/+$/, '')}/disk-places`,
    socketPath: file.node?.socket ?? '/run/flocker/agent.sock',
    isolatorSocketPath: file.node?.['isolator-socket'] ?? '/run/flocker/isolator.sock',
    isolator: readIsolatorSection(file.isolator, (problem) => {
      throw new AgentConfigError('bad_agent_yml', `${path}: ${problem}`);
    }),
    docker: dockerConfig(file.node?.['docker-socket'], file.node?.['docker-remove']),
    csiSocketPath:
      file.node?.['csi-socket'] === false ? undefined : (file.node?.['csi-socket'] ?? '/run/flocker/csi.sock'),
    allowOverwrite: file.node?.['dvdcli-overwritefs'] ?? false,
    address: file.node?.address,
    copyPort: file.node?.['copy-port'] ?? 4525,
    sharedMachine: file.node?.['shared-machine'] ?? false,
    storagePaceMs: 1000 * (file.node?.['storage-report-seconds'] ?? 60),
  };
}

function dockerConfig(socket: string | false | undefined, remove: 'delete' | 'keep' = 'delete'): DockerConfig {
  if (socket === undefined) return { socketPaths: DOCKER_SOCKETS, required: false, remove };
  return { socketPaths: socket === false ? [] : [socket], required: true, remove };
}
