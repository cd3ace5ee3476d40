import { dirname, join, resolve } from 'node:path';
import { Command } from 'commander';
import { systemClock } from '../kit/clock.ts';

interface StoreFlags {
  readonly dataPath: string;
  readonly json?: true;
}

/** `flocker store`: one command to back up what a control service knows, and one to restore it. */
export function storeCommand(): Command {
  const command = new Command('store').description("Back up and restore the control service's store.");
  withFlags(command.command('backup'))
    .description('Write all that the control service knows to a file, while it runs or while it does not.')
    .argument('<file>', 'must not exist yet')
    .action(async (file: string, flags: StoreFlags) => {
      const { backUpStore } = await import('../control/store/level/back-up-store.ts');
      const path = resolve(file);
      const { values, revision } = await backUpStore({
        ...{ directory: storeIn(flags), path, scratchParent: dirname(path), wallMs: systemClock.wallMs() },
      });
      const datasets = datasetsIn(values);
      say(
        flags,
        { file: path, datasets, revision },
        `Backed up ${datasets} datasets, revision ${revision}, to ${path}.`,
      );
    });
  withFlags(command.command('restore'))
    .description('Make the store of a backup, while the control service is stopped.')
    .argument('<file>', 'what "flocker store backup" wrote')
    .option('--force', 'replace a store that has something; what was there is kept beside it', false)
    .addHelpText(
      'after',
      '\nThe control service then does not trust where volumes were when the backup was made: a volume is used again once a node\n' +
        'reports that it has it, or after "flockerctl restored confirm". Read docs/operations.md before.\n',
    )
    .action(async (file: string, flags: StoreFlags & { readonly force: boolean }) => {
      const { readBackup } = await import('../control/store/level/back-up-store.ts');
      const { restoreStore } = await import('../control/store/level/restore-store.ts');
      const backup = await readBackup(resolve(file));
      const directory = storeIn(flags);
      const { replaced } = await restoreStore({ directory, backup, force: flags.force, wallMs: systemClock.wallMs() });
      const datasets = datasetsIn(backup.values);
      const taken = new Date(backup.takenAtMs).toISOString();
      const kept = replaced === undefined ? '' : ` What was there is in ${replaced}; remove it when all is well.`;
      say(
        flags,
        { directory, datasets, taken, replaced: replaced ?? null },
        `Restored ${datasets} datasets as of ${taken} into ${directory}.${kept}\n` +
          'Start the control service; "flockerctl restored" then says what is in doubt.',
      );
    });
  return command;
}

function withFlags(command: Command): Command {
  return command
    .option('-d, --data-path <directory>', "the control service's --data-path", '/var/lib/flocker')
    .option('--json', 'print one JSON object instead of a sentence');
}

function storeIn({ dataPath }: StoreFlags): string {
  return join(resolve(dataPath), 'store');
}

function datasetsIn(values: ReadonlyMap<string, unknown>): number {
  return [...values.keys()].filter((key) => key.startsWith('dataset/')).length;
}

function say({ json }: StoreFlags, fields: Readonly<Record<string, unknown>>, text: string): void {
  process.stdout.write(`${json === true ? JSON.stringify(fields) : text}\n`);
}
