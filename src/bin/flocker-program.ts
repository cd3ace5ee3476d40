import { resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { caCommand } from '../cli/ca.ts';
import { completionCommand } from '../cli/completion/completion-command.ts';
import { doctorCommand } from '../cli/doctor/doctor-command.ts';
import { CLUSTER_BACKENDS, CLUSTER_STORES, type ClusterBackend, type ClusterStore } from '../cli/up/cluster-backend.ts';
import { caEnvironment } from './ca-environment.ts';
import { runDaemon } from './daemon.ts';
import { doctorEnvironment } from './doctor-environment.ts';
import { type Endpoint, parseEndpoint } from './endpoint.ts';
import { type EtcdFlags, etcdOptions, withEtcdFlags } from './etcd-options.ts';
import { type MesosFlags, mesosOptions, withMesosFlags } from './mesos-options.ts';
import { providerCommand } from './provider-command.ts';
import { runCommand } from './run-command.ts';
import { storeCommand } from './store-command.ts';
import { version } from './version.ts';

const logLevel = (): Option =>
  new Option('--log-level <level>', 'what to log').choices(['debug', 'info', 'warn', 'error']).default('info');

/** The whole of the program `flocker`. */
export function flockerProgram(): Command {
  const program = new Command('flocker')
    .description('Storage for tasks that keep their data wherever they run.')
    .version(version)
    .showHelpAfterError();

  withMesosFlags(withEtcdFlags(program.command('control')))
    .description('Run the control service: REST API for users, orders for node agents.')
    .option('-d, --data-path <directory>', 'where the configuration is kept', '/var/lib/flocker')
    .option('-p, --port <endpoint>', 'of the REST API: 4523, tcp:4523 or tcp:4523:interface=ADDRESS', 'tcp:4523')
    .option('-a, --agent-port <endpoint>', 'of the node agents', endpointText, 'tcp:4524')
    .option(
      '-c, --certificates-directory <directory>',
      'cluster.crt, control-service.crt and control-service.key',
      '/etc/flocker',
    )
    .option(
      '--accept-loss',
      'start although the store misses acknowledged changes, as after restoring an old backup',
      false,
    )
    .option(
      '--fence-after <seconds>',
      'declare a node dead that was silent for so long, where its storage cuts it off (ceph); 10 or more (default: never)',
      fencingSeconds,
    )
    .addOption(logLevel())
    .action(async (options: ControlFlags) => {
      await runDaemon('flocker-control', options.logLevel, async (world) => {
        const { startControl } = await import('./control.ts');
        return startControl(
          {
            dataPath: resolve(options.dataPath),
            certificatesDirectory: resolve(options.certificatesDirectory),
            rest: endpoint(options.port),
            agents: endpoint(options.agentPort),
            acceptLoss: options.acceptLoss,
            fenceAfterMs: options.fenceAfter === undefined ? undefined : 1000 * options.fenceAfter,
            mesos: mesosOptions(options),
            etcd: etcdOptions(options),
          },
          world,
        );
      });
    });

  program
    .command('agent')
    .description('Run the node agent of this machine: attaches and mounts volumes, serves the programs that use them.')
    .option('-c, --agent-config <file>', 'agent.yml, with the certificates beside it', '/etc/flocker/agent.yml')
    .addOption(logLevel())
    .action(async (options: { agentConfig: string; logLevel: string }) => {
      await runDaemon('flocker-agent', options.logLevel, async (world) => {
        const { startAgent } = await import('./agent.ts');
        return startAgent(resolve(options.agentConfig), world);
      });
    });

  program
    .command('up')
    .description('Run a whole cluster on this machine: certificates, a control service and node agents.')
    .option('-n, --nodes <count>', 'how many nodes (default: as it was made, or 2)', wholeNumber)
    .option('-d, --dir <directory>', 'where everything is kept', '.flocker')
    .addOption(
      new Option('-b, --backend <backend>', 'storage engine (default: loopback as root, else directory)').choices([
        ...CLUSTER_BACKENDS,
      ]),
    )
    .option('--pool-per-node', 'each node has a pool of its own, and volumes are copied when they move (btrfs)')
    .addOption(
      new Option('--store <store>', 'what the control service keeps its records in; etcd is run beside it').choices([
        ...CLUSTER_STORES,
      ]),
    )
    .option('--controls <count>', 'how many control services (with etcd; default: as it was made, or 1)', wholeNumber)
    .option(
      '--no-story',
      'do not show first, on a new cluster with ceph, that a task keeps its data when its node is lost',
    )
    .action(async (options: UpFlags) => {
      const { runUp } = await import('./up.ts');
      process.exitCode = await runUp({
        directory: resolve(options.dir),
        nodes: options.nodes,
        backend: options.backend,
        poolPerNode: options.poolPerNode ?? false,
        store: options.store,
        controls: options.controls,
        story: options.story,
      });
    });

  program.addCommand(providerCommand());
  program.addCommand(runCommand());
  program.addCommand(storeCommand());
  program.addCommand(caCommand(caEnvironment));
  program.addCommand(doctorCommand(doctorEnvironment));
  program.addCommand(completionCommand('flocker', process.stdout));
  return program;
}

interface UpFlags {
  readonly nodes?: number;
  readonly dir: string;
  readonly backend?: ClusterBackend;
  readonly poolPerNode?: true;
  readonly store?: ClusterStore;
  readonly controls?: number;
  readonly story: boolean;
}

interface ControlFlags extends EtcdFlags, MesosFlags {
  readonly dataPath: string;
  readonly port: string;
  readonly agentPort: string;
  readonly certificatesDirectory: string;
  readonly acceptLoss: boolean;
  readonly fenceAfter?: number;
  readonly logLevel: string;
}

/** As it was given: help shows defaults in the words that options take. */
function endpointText(text: string): string {
  endpoint(text);
  return text;
}

function endpoint(text: string): Endpoint {
  const parsed = parseEndpoint(text);
  if (parsed === undefined)
    throw new InvalidArgumentError('It must look like 4523, tcp:4523 or tcp:4523:interface=127.0.0.1.');
  return parsed;
}

/** Below ten seconds a restart of an agent would count as a death. */
function fencingSeconds(text: string): number {
  const seconds = wholeNumber(text);
  if (seconds < 10) throw new InvalidArgumentError('It must be 10 or more.');
  return seconds;
}

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}
