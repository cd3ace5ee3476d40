import { randomUUID } from 'node:crypto';
import { dirname, join, resolve } from 'node:path';
import { Command } from 'commander';
import type { EtcdPlace } from '../control/store/etcd/etcd-backup.ts';
import type { Backup } from '../control/store/level/backup-file.ts';
import { RESTORED_KEY } from '../control/store/store.ts';
import { systemClock } from '../kit/clock.ts';
import { silentLogger } from '../kit/logger.ts';
import {
  type EtcdFlags,
  type EtcdOptions,
  etcdOptions,
  readEtcdOptions,
  withEtcdAccess,
  withEtcdFlags,
} from './etcd-options.ts';

interface StoreFlags extends EtcdFlags {
  readonly dataPath: string;
  readonly json?: true;
}

type CopyFlags = Omit<EtcdFlags, 'store'> & { readonly force: boolean; readonly json?: true };

/** `flocker store`: one command to back up what a control service knows, one to restore it, and one to move it elsewhere. */
export function storeCommand(): Command {
  const command = new Command('store').description("Back up, restore and copy the control service's store.");
  withFlags(command.command('backup'))
    .description('Write all that the control service knows to a file, while it runs or while it does not.')
    .argument('<file>', 'must not exist yet')
    .action(async (file: string, flags: StoreFlags) => {
      const { backUpStore, writeBackup } = await import('../control/store/level/back-up-store.ts');
      const path = resolve(file);
      const etcd = etcdOptions(flags);
      const { values, revision } =
        etcd === undefined
          ? await backUpStore({
              ...{ directory: storeIn(flags), path, scratchParent: dirname(path), wallMs: systemClock.wallMs() },
            })
          : await writeBackup(path, async () => {
              const { backUpEtcd } = await import('../control/store/etcd/etcd-backup.ts');
              return await backUpEtcd(await placeOf(etcd));
            });
      const datasets = datasetsIn(values);
      say(
        flags,
        { file: path, datasets, revision },
        `Backed up ${datasets} datasets, revision ${revision}, to ${path}.`,
      );
    });
  withFlags(command.command('restore'))
    .description('Make the store of a backup, while no control service uses it.')
    .argument('<file>', 'what "flocker store backup" wrote')
    .option('--force', 'replace a store that has something; what was there is kept beside it, but not in etcd', false)
    .addHelpText(
      'after',
      '\nThe control service then does not trust where volumes were when the backup was made: a volume is used again once a node\n' +
        'reports that it has it, or after "flockerctl restored confirm". Read docs/operations.md before.\n',
    )
    .action(async (file: string, flags: StoreFlags & { readonly force: boolean }) => {
      const { readBackup } = await import('../control/store/level/back-up-store.ts');
      const backup = await readBackup(resolve(file));
      const etcd = etcdOptions(flags);
      const to = etcd === undefined ? { directory: storeIn(flags) } : { etcd };
      const replaced = await write(to, backup, flags.force, true);
      const datasets = datasetsIn(backup.values);
      const taken = new Date(backup.takenAtMs).toISOString();
      const kept = replaced === undefined ? '' : ` What was there is in ${replaced}; remove it when all is well.`;
      const where = 'directory' in to ? to.directory : (flags.store ?? '');
      say(
        flags,
        { directory: where, datasets, taken, replaced: replaced ?? null },
        `Restored ${datasets} datasets as of ${taken} into ${where}.${kept}\n` +
          'Start the control service; "flockerctl restored" then says what is in doubt.',
      );
    });
  withEtcdAccess(command.command('copy'))
    .description(
      'Move a cluster to another store, while no control service uses either. The first is marked as old then.',
    )
    .argument('<from>', "a control service's --data-path, or etcd://host1:2379,host2:2379/prefix")
    .argument('<to>', 'the same; it has to be empty')
    .option('--force', 'replace what is there', false)
    .option('--json', 'print one JSON object instead of a sentence')
    .action(async (from: string, to: string, flags: CopyFlags) => {
      let datasets = 0;
      await leave(ofPlace(from, flags), async (backup) => {
        datasets = datasetsIn(backup.values);
        await write(ofPlace(to, flags), backup, flags.force, false);
      });
      say(
        flags,
        { from, to, datasets },
        `Copied ${datasets} datasets to ${to}. Start control services on it, and none on ${from}.`,
      );
    });
  return command;
}

type StorePlace = { readonly directory: string } | { readonly etcd: EtcdOptions };

/** Makes a store of a backup; where what was there before is kept, if it is. */
async function write(to: StorePlace, backup: Backup, force: boolean, isOld: boolean): Promise<string | undefined> {
  if ('etcd' in to) {
    const { restoreEtcd } = await import('../control/store/etcd/etcd-backup.ts');
    await restoreEtcd(await placeOf(to.etcd), { backup, force, isOld });
    return undefined;
  }
  const { restoreStore } = await import('../control/store/level/restore-store.ts');
  const { replaced } = await restoreStore({
    directory: to.directory,
    backup,
    force,
    isOld,
    wallMs: systemClock.wallMs(),
  });
  return replaced;
}

/** Takes everything out of a store that nobody has open. It is marked as old: started again, it would doubt where volumes are. */
async function leave(from: StorePlace, take: (backup: Backup) => Promise<void>): Promise<void> {
  if ('etcd' in from) {
    const { leaveEtcd } = await import('../control/store/etcd/etcd-backup.ts');
    await leaveEtcd(await placeOf(from.etcd), take);
    return;
  }
  const { openLevelStore } = await import('../control/store/level/open-level-store.ts');
  const wallMs = systemClock.wallMs();
  const store = await openLevelStore({
    ...{ directory: from.directory, newUuid: randomUUID, logger: silentLogger, acceptLoss: false, wallMs },
  });
  try {
    const { clusterId, revision } = store;
    await take({ clusterId, revision, takenAtMs: wallMs, values: store.entries() });
    await store.commit([{ kind: 'put', key: RESTORED_KEY, value: { atMs: wallMs, doubted: false } }]);
  } finally {
    await store.close();
  }
}

function ofPlace(text: string, flags: Omit<EtcdFlags, 'store'>): StorePlace {
  const etcd = text.startsWith('etcd://') ? etcdOptions({ ...flags, store: text }) : undefined;
  return etcd === undefined ? { directory: join(resolve(text), 'store') } : { etcd };
}

async function placeOf(etcd: EtcdOptions): Promise<EtcdPlace> {
  return { ...(await readEtcdOptions(etcd)), clock: systemClock, newUuid: randomUUID, logger: silentLogger };
}

function withFlags(command: Command): Command {
  return withEtcdFlags(command)
    .option('-d, --data-path <directory>', "the control service's --data-path", '/var/lib/flocker')
    .option('--json', 'print one JSON object instead of a sentence');
}

function storeIn({ dataPath }: StoreFlags): string {
  return join(resolve(dataPath), 'store');
}

function datasetsIn(values: ReadonlyMap<string, unknown>): number {
  return [...values.keys()].filter((key) => key.startsWith('dataset/')).length;
}

function say({ json }: { readonly json?: true }, fields: Readonly<Record<string, unknown>>, text: string): void {
  process.stdout.write(`${json === true ? JSON.stringify(fields) : text}\n`);
}
