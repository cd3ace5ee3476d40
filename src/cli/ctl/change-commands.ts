import { type Command, InvalidArgumentError } from 'commander';
import { type DatasetId, parseDatasetId } from '../../kit/ids.ts';
import { act, DATASET, examples, NODE, parseSelector } from './command-parts.ts';
import { createDataset } from './create.ts';
import type { CtlEnvironment } from './ctl-environment.ts';
import { parseDatasetSize, parseMetadata } from './dataset-wishes.ts';
import { declareNodeDead } from './declare-dead.ts';
import { destroyDataset } from './destroy.ts';
import { moveDataset } from './move.ts';
import { resizeDataset } from './resize.ts';
import { confirmRestored, showRestored } from './restored.ts';
import { createSnapshot, destroySnapshot, listSnapshots } from './snapshot.ts';

const WAIT = '--wait';
const SIZE = 'bytes, or with k, M, G, T (binary)';

/** Commands that change datasets and snapshots. */
export function changeCommands(program: Command, environment: CtlEnvironment): void {
  program
    .command('create')
    .description('create a dataset')
    .requiredOption('-n, --node <node>', `first primary: ${NODE}`, parseSelector)
    .option('-s, --size <size>', SIZE, parseDatasetSize)
    .option('-m, --metadata <pairs>', 'a=b,c=d; tasks find the volume by "name"', parseMetadata)
    .option(
      '--snapshot <snapshot>',
      'begin with the data of this snapshot: its UUID, its beginning, or its name',
      parseSelector,
    )
    .option('--dataset-id <uuid>', 'its UUID; that of a volume that a node has takes the volume in', parseDatasetUuid)
    .option(WAIT, 'until it is mounted')
    .addHelpText(
      'after',
      examples(
        'create -n 192.0.2.1 -s 10G -m name=webapp --wait',
        'create -n 9f86 -m name=copy --snapshot before-upgrade',
      ),
    )
    .action(act(environment, createDataset));
  program
    .command('move')
    .description('move a dataset to another node')
    .requiredOption('-d, --dataset <dataset>', DATASET, parseSelector)
    .requiredOption('-t, --destination <node>', NODE, parseSelector)
    .option(WAIT, 'until it is mounted there')
    .addHelpText('after', examples('move -d webapp -t 192.0.2.2 --wait'))
    .action(act(environment, moveDataset));
  program
    .command('resize')
    .description('make a dataset larger; one never gets smaller')
    .requiredOption('-d, --dataset <dataset>', DATASET, parseSelector)
    .requiredOption('-s, --size <size>', SIZE, parseDatasetSize)
    .option(WAIT, 'until it has grown')
    .addHelpText('after', examples('resize -d webapp -s 20G --wait'))
    .action(act(environment, resizeDataset));
  program
    .command('destroy')
    .description('delete a dataset and its data')
    .requiredOption('-d, --dataset <dataset>', DATASET, parseSelector)
    .option(WAIT, 'until its data are destroyed')
    .addHelpText('after', examples('destroy -d webapp --wait'))
    .action(act(environment, destroyDataset));
  snapshotCommands(program, environment);
  nodeCommands(program, environment);
  restoredCommands(program, environment);
}

function parseDatasetUuid(text: string): DatasetId {
  const id = parseDatasetId(text);
  if (id === undefined) throw new InvalidArgumentError('It must be a UUID.');
  return id;
}

function nodeCommands(program: Command, environment: CtlEnvironment): void {
  program
    .command('node')
    .description('what operators say of nodes')
    .command('declare-dead')
    .description('say that a node is off, or cut off from the storage, so that other nodes may have its volumes')
    .argument('<node>', NODE, parseSelector)
    .option('-y, --yes', 'the machine is off, or cannot write to the storage any more')
    .addHelpText(
      'after',
      '\nA volume is mounted on one node at most, and a node that does not answer may still be writing. Only whoever knows that it\n' +
        'cannot write any more may say so. Its leases end, and its volumes can be moved to the nodes that share its storage. When its\n' +
        'agent comes back, it lets go of everything before it gets anything.\n' +
        examples('nodes', 'node declare-dead 192.0.2.1 --yes', 'move -d webapp -t 192.0.2.2 --wait'),
    )
    .action(act(environment, declareNodeDead));
}

function restoredCommands(program: Command, environment: CtlEnvironment): void {
  const restored = program
    .command('restored')
    .description('what is in doubt since the control service was restored from a backup');
  restored
    .command('show', { isDefault: true })
    .description('show it, and the volumes that the backup does not know')
    .action(act(environment, showRestored));
  restored
    .command('confirm')
    .description('say that every node is connected, or off, so that what no node has may be used again')
    .option('-y, --yes', 'every node that may have a volume is connected, or is switched off')
    .addHelpText(
      'after',
      '\nWhat was changed after the backup is not in it: a volume may be on another node than it says. One that a node has is found when\n' +
        'that node connects, and this is not needed for it. The others wait for this word. Nothing is made anew for them.\n' +
        examples('nodes', 'restored', 'restored confirm --yes'),
    )
    .action(act(environment, confirmRestored));
}

function snapshotCommands(program: Command, environment: CtlEnvironment): void {
  const snapshot = program.command('snapshot').description('take, list and destroy snapshots of datasets');
  snapshot
    .command('create')
    .description('take a snapshot of a dataset')
    .requiredOption('-d, --dataset <dataset>', DATASET, parseSelector)
    .option('-m, --metadata <pairs>', 'a=b,c=d; "name" is how it is found', parseMetadata)
    .option(WAIT, 'until it is taken')
    .addHelpText('after', examples('snapshot create -d webapp -m name=before-upgrade --wait'))
    .action(act(environment, createSnapshot));
  snapshot
    .command('list')
    .alias('ls')
    .description('list snapshots')
    .option('-d, --dataset <dataset>', `only of this one: ${DATASET}`, parseSelector)
    .action(act(environment, listSnapshots));
  snapshot
    .command('destroy')
    .description('delete a snapshot; datasets made from it stay')
    .requiredOption('-s, --snapshot <snapshot>', 'its UUID, its beginning, or its name', parseSelector)
    .option(WAIT, 'until it is gone')
    .addHelpText('after', examples('snapshot destroy -s before-upgrade'))
    .action(act(environment, destroySnapshot));
}
