import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import type { Clock } from '../kit/clock.ts';
import { errorText } from '../kit/coded-error.ts';
import type { NewUuid } from '../kit/ids.ts';
import type { KeyType } from '../tls/key-pair.ts';
import { inspectCommand } from './ca-inspect.ts';

/** What the command takes from its process. */
export interface CaEnvironment {
  readonly cwd: string;
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
  readonly clock: Clock;
  readonly newUuid: NewUuid;
  readonly randomBytes: (count: number) => Uint8Array;
  readonly setExitCode: (code: number) => void;
}

interface InitializeOptions {
  readonly keyType: KeyType;
  readonly json?: true;
}

interface LeafOptions extends InitializeOptions {
  readonly inputpath?: string;
  readonly outputpath?: string;
}

/** What an action made: the sentence for people, the fields for `--json`. */
interface Outcome {
  readonly text: string;
  readonly fields: Readonly<Record<string, string>>;
}

/** `flocker ca …`, and the whole of the program `flocker-ca`. */
export function caCommand(environment: CaEnvironment): Command {
  const command = new Command('ca').description(
    "Make TLS certificates that identify a cluster's control service, nodes and API users.",
  );
  command.addCommand(initializeCommand(environment));
  command.addCommand(controlCommand(environment));
  command.addCommand(nodeCommand(environment));
  command.addCommand(userCommand(environment));
  command.addCommand(inspectCommand(environment));
  for (const one of [command, ...command.commands]) {
    one.configureOutput({
      writeOut: (text) => environment.stdout.write(text),
      writeErr: (text) => environment.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'Error: ')),
    });
  }
  return command;
}

function initializeCommand(environment: CaEnvironment): Command {
  return withKeyType(new Command('initialize'))
    .description('Make a certificate authority, cluster.crt and cluster.key, in the current directory.')
    .argument('<name>', "the cluster's name")
    .option('--cluster-id <uuid>', 'replace the authority of this cluster (default: a new cluster)')
    .action(async (name: string, options: InitializeOptions & { readonly clusterId?: string }) => {
      await report(environment, options, async () => {
        const { initializeAuthority } = await import('../tls/authority.ts');
        const kept = options.clusterId === undefined ? {} : { clusterId: options.clusterId };
        const request = { directory: environment.cwd, name, keyType: options.keyType, ...kept };
        const made = await initializeAuthority(request, environment);
        const secret = 'Keep cluster.key secret and off the cluster: whoever has it controls the cluster.';
        return {
          text: `Created cluster.key and cluster.crt. ${secret}`,
          fields: { kind: 'authority', name, ...fieldsOf(made) },
        };
      });
    });
}

function controlCommand(environment: CaEnvironment): Command {
  return leafCommand('create-control-certificate')
    .description('Make the certificate of the control service.')
    .argument('<hostname>', 'DNS name or IP address under which clients reach the control service')
    .action(async (hostname: string, options: LeafOptions) => {
      await report(environment, options, async () => {
        const { createControlCertificate } = await import('../tls/leaf.ts');
        const made = await createControlCertificate({ ...leafRequest(environment, options), hostname }, environment);
        const pair = `control-${hostname}`;
        const install =
          'Copy them to /etc/flocker/control-service.crt and /etc/flocker/control-service.key on the control service ' +
          'machine, with mode 0600.';
        return {
          text: `Created ${pair}.crt and ${pair}.key\n${install}`,
          fields: { kind: 'control', hostname, ...fieldsOf(made) },
        };
      });
    });
}

function nodeCommand(environment: CaEnvironment): Command {
  return leafCommand('create-node-certificate')
    .description('Make the certificate of a node agent.')
    .option('--node-id <uuid>', 'renew the certificate of this node (default: a new node)')
    .action(async (options: LeafOptions & { readonly nodeId?: string }) => {
      await report(environment, options, async () => {
        const { createNodeCertificate } = await import('../tls/leaf.ts');
        const renewed = options.nodeId === undefined ? {} : { nodeId: options.nodeId };
        const made = await createNodeCertificate({ ...leafRequest(environment, options), ...renewed }, environment);
        const install = `Copy it and ${made.nodeId}.key to /etc/flocker/node.crt and /etc/flocker/node.key on one node`;
        return {
          text: `Created ${made.nodeId}.crt. ${install}, with mode 0600.`,
          fields: { kind: 'node', nodeId: made.nodeId, ...fieldsOf(made) },
        };
      });
    });
}

function userCommand(environment: CaEnvironment): Command {
  return leafCommand('create-api-certificate')
    .description('Make the certificate of an API user. The Docker plugin is the user "plugin".')
    .argument('<username>', "the user's name")
    .action(async (name: string, options: LeafOptions) => {
      await report(environment, options, async () => {
        const { createUserCertificate } = await import('../tls/leaf.ts');
        const made = await createUserCertificate({ ...leafRequest(environment, options), name }, environment);
        return {
          text: `Created ${name}.crt. Give it, ${name}.key and cluster.crt to the user of the control service's API.`,
          fields: { kind: 'user', username: name, ...fieldsOf(made) },
        };
      });
    });
}

function leafCommand(name: string): Command {
  return withKeyType(new Command(name))
    .option('-i, --inputpath <directory>', 'directory of cluster.crt and cluster.key (default: the current one)')
    .option('-o, --outputpath <directory>', 'directory for the new files (default: the current one)');
}

function withKeyType(command: Command): Command {
  const keyType = new Option('--key-type <type>', 'ec: ECDSA P-256; rsa: RSA 4096, takes seconds');
  return command
    .addOption(keyType.choices(['ec', 'rsa']).default('ec'))
    .option('--json', 'print one JSON object instead of a sentence');
}

function leafRequest(
  environment: CaEnvironment,
  options: LeafOptions,
): { authorityDirectory: string; outputDirectory: string; keyType: KeyType } {
  return {
    authorityDirectory: resolve(environment.cwd, options.inputpath ?? '.'),
    outputDirectory: resolve(environment.cwd, options.outputpath ?? '.'),
    keyType: options.keyType,
  };
}

function fieldsOf(made: { clusterId: string; certificatePath: string; keyPath: string }): Record<string, string> {
  return { clusterId: made.clusterId, certificate: made.certificatePath, key: made.keyPath };
}

async function report(
  environment: CaEnvironment,
  options: InitializeOptions,
  act: () => Promise<Outcome>,
): Promise<void> {
  try {
    const outcome = await act();
    environment.stdout.write(`${options.json === true ? JSON.stringify(outcome.fields) : outcome.text}\n`);
  } catch (error) {
    environment.stderr.write(`Error: ${errorText(error)}\n`);
    environment.setExitCode(1);
  }
}
