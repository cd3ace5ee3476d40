import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import type { ProviderYml } from '../frontends/resource-provider/provider-config.ts';
import { runDaemon } from './daemon.ts';

const DEFAULT_CONFIG = '/etc/flocker/provider.yml';

interface ProviderFlags {
  readonly config?: string;
  readonly agent?: string;
  readonly cluster?: string;
  readonly node?: string;
  readonly name?: string;
  readonly role?: string;
  readonly credential?: string;
  readonly tokenFile?: string;
  readonly statePath?: string;
  readonly mountRoot?: string;
  readonly offerExisting?: true;
  readonly newIdentity: boolean;
  readonly logLevel: string;
}

/** `flocker provider`: storage in the offers of a Mesos agent. */
export function providerCommand(): Command {
  return new Command('provider')
    .description("Run the resource provider of a Mesos agent: this node's storage in offers, disks for tasks.")
    .option('-c, --config <file>', `provider.yml (default: ${DEFAULT_CONFIG}, which may be missing)`)
    .option('-a, --agent <url>', 'the Mesos agent, as in http://10.0.0.1:5051')
    .option('--cluster <file>', 'cluster.json of a cluster on this machine (FLOCKER_CLUSTER)')
    .option('--node <node>', 'with --cluster: number from 1, host, or beginning of the UUID', '1')
    .option('--name <name>', 'of this provider; letters, digits and underscores. It must never change')
    .option('--role <role>', 'reserve all that is offered for a role')
    .option('--credential <file>', 'JSON file with "principal" and "secret" for the agent')
    .option('--token-file <file>', 'file with a bearer token for the agent')
    .option('--state-path <directory>', 'where the identity and the operations are kept')
    .option('--mount-root <directory>', 'disks are found below it')
    .option('--offer-existing', 'offer volumes of this node that nobody uses')
    .option('--new-identity', 'attach as a new provider, once; what Mesos knew of the old one is gone', false)
    .addOption(
      new Option('--log-level <level>', 'what to log').choices(['debug', 'info', 'warn', 'error']).default('info'),
    )
    .action(async (flags: ProviderFlags) => {
      await runDaemon('flocker-provider', flags.logLevel, async (world) => {
        const { startProvider } = await import('./provider.ts');
        // A file that was named says where everything is.
        const cluster = flags.cluster ?? (flags.config === undefined ? process.env['FLOCKER_CLUSTER'] : undefined);
        return startProvider(
          {
            configPath: resolve(flags.config ?? DEFAULT_CONFIG),
            configGiven: flags.config !== undefined,
            cluster: cluster === undefined ? undefined : { path: resolve(cluster), node: flags.node ?? '1' },
            given: given(flags),
            newIdentity: flags.newIdentity,
          },
          world,
        );
      });
    });
}

function given(flags: ProviderFlags): ProviderYml {
  const { agent, name, role, credential, tokenFile, statePath, mountRoot, offerExisting } = flags;
  const path = (text: string | undefined): string | undefined => (text === undefined ? undefined : resolve(text));
  const all = {
    agent,
    name,
    role,
    credential: path(credential),
    'token-file': path(tokenFile),
    'state-path': path(statePath),
    'mount-root': path(mountRoot),
    'offer-existing': offerExisting,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as ProviderYml;
}
