import type { Command } from 'commander';
import { act, DATASET, examples, parseSelector } from './command-parts.ts';
import type { CtlEnvironment } from './ctl-environment.ts';
import { followEvents } from './events.ts';
import { inspectDataset } from './inspect.ts';
import { listLeases, releaseLease } from './leases.ts';
import { listDatasets } from './list.ts';
import { listNodes } from './list-nodes.ts';
import { showNodes } from './nodes.ts';
import { parsePort } from './parse-port.ts';
import { showPools } from './pools.ts';
import { showDashboard } from './show-dashboard.ts';

const LONG = 'show whole UUIDs';

/** Commands that look at the cluster. */
export function lookCommands(program: Command, environment: CtlEnvironment): void {
  for (const name of ['list-nodes', 'status']) {
    program
      .command(name)
      .description('show list of nodes in the cluster')
      .option('-l, --long', LONG)
      .action(act(environment, listNodes));
  }
  program
    .command('list')
    .alias('ls')
    // Flocker's -h is --human, which never had an effect.
    .helpOption('--help', 'display help for command')
    .description('list datasets, and why they are not as configured')
    .option('-d, --deleted', 'show deleted datasets too')
    .option('-l, --long', LONG)
    .option('-h, --human', 'sizes are for people in any case')
    .action(act(environment, listDatasets));
  program
    .command('inspect')
    .description('show all that is known of a volume: where it is, who holds it, how full it is, what is wrong')
    .argument('<dataset>', DATASET, parseSelector)
    .addHelpText('after', examples('inspect webapp', '--json inspect 7f9c'))
    .action(act(environment, inspectDataset));
  program
    .command('nodes')
    .description('show every node: whether its agent is connected, how many volumes it holds, its storage')
    .option('-l, --long', LONG)
    .action(act(environment, showNodes));
  program
    .command('pools')
    .description('show the storage: capacity, use, what compression and sharing save, and the profiles')
    .option('-l, --long', 'show whole names of pools')
    .action(act(environment, showPools));
  program
    .command('events')
    .description('follow what changes, until it is interrupted or the time given with --timeout is over')
    .addHelpText('after', examples('events', '--json --timeout 60 events | jq -c .value'))
    .action(act(environment, followEvents, { endless: true }));
  program
    .command('dashboard')
    .description('serve the dashboard to a browser on this machine, with your certificate, until it is interrupted')
    .option('-p, --port <port>', 'port on 127.0.0.1; a free one unless given', parsePort)
    .addHelpText(
      'after',
      '\nThe address that is printed holds a secret: whoever has it can do what your certificate can. Give it to nobody.\n' +
        examples('dashboard', 'dashboard --port 8080'),
    )
    .action(act(environment, showDashboard, { endless: true }));
  leaseCommands(program, environment);
}

function leaseCommands(program: Command, environment: CtlEnvironment): void {
  const leases = program.command('leases').description('list leases: which node uses which volume');
  leases
    .command('list', { isDefault: true })
    .description('list leases')
    .option('-l, --long', LONG)
    .action(act(environment, listLeases));
  leases
    .command('release')
    .description('end the lease on a volume, as of a node that is gone for good')
    .requiredOption('-d, --dataset <dataset>', DATASET, parseSelector)
    .addHelpText(
      'after',
      '\nA lease keeps a volume where it is while a task uses it. Without it another node may ask for the volume; a node that\n' +
        'still has it mounted for a task does not let go of it, and takes the lease again.\n' +
        examples('leases', 'leases release -d webapp'),
    )
    .action(act(environment, releaseLease));
}
