import { withDeadline } from '../../../kit/deadline.ts';
import type { ChangeText } from '../change-text.ts';
import type { Backup } from '../level/backup-file.ts';
import { RestoreError } from '../level/restore-store.ts';
import { type Json, RESTORED_KEY, StoreError } from '../store.ts';
import { type EtcdAccess, EtcdGateway, type EtcdPair } from './etcd-gateway.ts';
import { EtcdKeys, headText, LAYOUT_VERSION } from './etcd-keys.ts';
import { inParts } from './etcd-store.ts';
import { Leadership } from './leadership.ts';
import {
  type OpenEtcdStoreOptions,
  openEtcdStore,
  readClusterId,
  readEntries,
  readHead,
  readJournal,
} from './open-etcd-store.ts';

/** Longer than a lease lasts whose holder is gone: who leads after that lives. */
const LEADERSHIP_TIMEOUT_MS = 10_000;

export type EtcdPlace = Omit<OpenEtcdStoreOptions, 'name' | 'onLost' | 'signal'>;

/** All that is in the store at one moment, also while control services use it. Fails with a {@link StoreError}. */
export async function backUpEtcd(place: EtcdPlace): Promise<Backup> {
  const { address, clock } = place;
  const keys = new EtcdKeys(address.prefix);
  const etcd = gatewayOf(place);
  try {
    const { pairs, revision } = await etcd.range(keys.meta);
    const meta: EtcdPair | undefined = pairs[0];
    if (meta === undefined)
      throw new StoreError(
        'store_failed',
        `there is no store in etcd below ${address.prefix}: is this the address of the control service?`,
      );
    const [head, entries, journal] = await Promise.all([
      readHead(etcd, keys, revision),
      readEntries(etcd, keys, revision),
      readJournal(etcd, keys, revision),
    ]);
    const values = new Map(entries);
    for (const { key, text } of journal.flat()) {
      if (text === undefined) values.delete(key);
      else values.set(key, JSON.parse(text) as Json);
    }
    return { clusterId: readClusterId(meta), revision: head.head.revision, takenAtMs: clock.wallMs(), values };
  } finally {
    await etcd.close();
  }
}

/**
 * Makes the store of a backup, in one step; `isOld` marks it so that the control service doubts where volumes are. Fails with a
 * {@link RestoreError} where there is something, unless `force`, and with a {@link StoreError} while a control service leads.
 */
export async function restoreEtcd(
  place: EtcdPlace,
  { backup, force, isOld }: { readonly backup: Backup; readonly force: boolean; readonly isOld: boolean },
): Promise<void> {
  const { address, clock, newUuid } = place;
  const keys = new EtcdKeys(address.prefix);
  const etcd = gatewayOf(place);
  let leadership: Leadership | undefined;
  try {
    leadership = await alone(place, (signal) =>
      Leadership.win({ etcd, key: keys.leader, name: 'flocker store restore', ...place }, signal),
    );
    const { condition } = leadership;
    const guarded = async (operations: Parameters<EtcdGateway['transaction']>[1]): Promise<void> => {
      const { done } = await etcd.transaction([condition], operations);
      if (!done) throw new StoreError('store_failed', 'a control service began to lead meanwhile; nothing was changed');
    };
    const present = (await etcd.range(keys.entries, { prefix: true, limit: 1 })).pairs;
    if (present.length > 0 && !force) {
      const text = `There is a store in etcd below ${address.prefix} already. Nothing was changed. With --force it is replaced: back it up first.`;
      throw new RestoreError('store_not_empty', text);
    }
    const values = new Map(backup.values);
    if (isOld) values.set(RESTORED_KEY, { atMs: clock.wallMs(), doubted: false });
    const parts = inParts([...values].map(([key, value]): ChangeText => ({ key, text: JSON.stringify(value) })));
    await guarded([{ kind: 'removePrefix', key: keys.journalParts }]);
    for (const [index, part] of parts.entries())
      await guarded([{ kind: 'put', key: keys.journalPart(index), value: JSON.stringify(part) }]);
    // In force with this, whatever comes between it and the end.
    await guarded([
      { kind: 'removePrefix', key: keys.entries },
      { kind: 'put', key: keys.meta, value: JSON.stringify({ version: LAYOUT_VERSION, clusterId: backup.clusterId }) },
      { kind: 'put', key: keys.head, value: headText({ revision: backup.revision + 1, token: newUuid() }) },
      { kind: 'put', key: keys.journal, value: String(parts.length) },
    ]);
    for (const part of parts) await guarded(part.map((change) => keys.operation(change)));
    await guarded(keys.journalEnd());
  } finally {
    await leadership?.resign();
    await etcd.close();
  }
}

/** Takes everything out of a store that no control service has open, and marks it as old: what is copied goes on elsewhere. */
export async function leaveEtcd(place: EtcdPlace, take: (backup: Backup) => Promise<void>): Promise<void> {
  const { clock } = place;
  const store = await alone(place, (signal) =>
    openEtcdStore({ ...place, name: 'flocker store copy', onLost: () => undefined, signal }),
  );
  try {
    const { clusterId, revision } = store;
    await take({ clusterId, revision, takenAtMs: clock.wallMs(), values: store.entries() });
    await store.commit([{ kind: 'put', key: RESTORED_KEY, value: { atMs: clock.wallMs(), doubted: false } }]);
  } finally {
    await store.close();
  }
}

async function alone<T>({ clock }: EtcdPlace, lead: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  return await withDeadline(clock, LEADERSHIP_TIMEOUT_MS, 'leading', controller.signal, lead).catch(
    (error: unknown) => {
      if (error instanceof StoreError || error instanceof RestoreError) throw error;
      const text =
        'a control service leads, or etcd cannot be reached: stop all control services of this etcd first; nothing was changed';
      throw new StoreError('store_locked', text, { cause: error });
    },
  );
}

function gatewayOf({ address, clock, tls, user }: EtcdPlace): EtcdGateway {
  const access: EtcdAccess = {
    ...{ members: address.members, clock },
    ...(tls === undefined ? {} : { tls }),
    ...(user === undefined ? {} : { user }),
  };
  return new EtcdGateway(access);
}
