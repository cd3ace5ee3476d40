import type { Clock } from '../../../kit/clock.ts';
import { errorText } from '../../../kit/coded-error.ts';
import type { NewUuid } from '../../../kit/ids.ts';
import type { Logger } from '../../../kit/logger.ts';
import type { ChangeText } from '../change-text.ts';
import { type Json, StoreError } from '../store.ts';
import type { EtcdAddress } from './etcd-address.ts';
import { type EtcdAccess, EtcdGateway, type EtcdOperation, type EtcdPair, EtcdUnanswered } from './etcd-gateway.ts';
import { EtcdKeys, type Head, headText, LAYOUT_VERSION, parseHead, parseObject } from './etcd-keys.ts';
import { EtcdStore } from './etcd-store.ts';
import { Leadership, LeadershipLost } from './leadership.ts';

/** Entries that are read at once. */
const PAGE = 2_000;

export interface OpenEtcdStoreOptions extends Pick<EtcdAccess, 'tls' | 'user'> {
  readonly address: EtcdAddress;
  /** What other control services are told of this one, such as its address. */
  readonly name: string;
  /** How long a leader that is gone stays leader, seconds; 3 unless given. */
  readonly leaseSeconds?: number;
  readonly clock: Clock;
  readonly newUuid: NewUuid;
  readonly logger: Logger;
  /** Called when another may lead, at whatever moment that is known: this process has to end. */
  readonly onLost: (error: StoreError) => void;
  /** Ends the standing by. */
  readonly signal: AbortSignal;
}

/**
 * Stands by until this process leads, and opens the store, making it when there is none. Fails with a {@link StoreError} when
 * what is there cannot be read or is of a newer version.
 */
export async function openEtcdStore(options: OpenEtcdStoreOptions): Promise<EtcdStore> {
  const { address, name, clock, newUuid, logger, onLost, signal } = options;
  const { tls, user, leaseSeconds } = options;
  const keys = new EtcdKeys(address.prefix);
  const etcd = new EtcdGateway({
    ...{ members: address.members, clock },
    ...(tls === undefined ? {} : { tls }),
    ...(user === undefined ? {} : { user }),
  });
  try {
    for (;;) {
      const parts = { etcd, key: keys.leader, name, clock, logger };
      const leadership = await Leadership.win(leaseSeconds === undefined ? parts : { ...parts, leaseSeconds }, signal);
      try {
        const read = await readStore(etcd, leadership, keys, newUuid);
        leadership.assertHeld();
        leadership.onLost(onLost);
        logger.info({ cluster: read.clusterId, revision: read.head.revision }, 'this control service leads');
        return new EtcdStore({ ...read, etcd, leadership, keys, clock, newUuid, logger });
      } catch (error) {
        await leadership.resign();
        // Nothing was shown to anybody yet.
        if (!(error instanceof LeadershipLost || error instanceof EtcdUnanswered)) throw error;
        logger.warn({ reason: errorText(error) }, 'the store could not be read in time; standing by again');
      }
    }
  } catch (error) {
    await etcd.close();
    throw error;
  }
}

/** Whoever leads is alone in writing, so that what is read is all there is. */
async function readStore(
  etcd: EtcdGateway,
  leadership: Leadership,
  keys: EtcdKeys,
  newUuid: NewUuid,
): Promise<{ clusterId: string; head: Head; headRevision: string; entries: ReadonlyMap<string, Json> }> {
  const guarded = async (operations: readonly EtcdOperation[]): Promise<void> => {
    const { done } = await etcd.transaction([leadership.condition], operations);
    if (!done) throw leadership.lose('another one leads');
  };
  const [meta] = (await etcd.range(keys.meta)).pairs;
  if (meta === undefined) {
    if ((await etcd.range(keys.entries, { prefix: true, limit: 1 })).pairs.length > 0)
      throw damaged(keys.meta, 'is missing');
    await guarded([
      { kind: 'put', key: keys.meta, value: JSON.stringify({ version: LAYOUT_VERSION, clusterId: newUuid() }) },
      { kind: 'put', key: keys.head, value: headText({ revision: 0, token: newUuid() }) },
    ]);
    return await readStore(etcd, leadership, keys, newUuid);
  }
  const clusterId = readClusterId(meta);
  for (const part of await readJournal(etcd, keys)) await guarded(part.map((change) => keys.operation(change)));
  await guarded(keys.journalEnd());
  return { clusterId, ...(await readHead(etcd, keys)), entries: await readEntries(etcd, keys) };
}

/** Of which cluster a store is. Fails for one of a newer version. */
export function readClusterId(meta: EtcdPair): string {
  const { version, clusterId } = parseObject(meta.value) ?? {};
  if (typeof version === 'number' && version > LAYOUT_VERSION) {
    const text = `the store in etcd was written by a newer version (${meta.key} says ${version}); nothing was changed; start that version`;
    throw new StoreError('store_unsupported', text);
  }
  if (version !== LAYOUT_VERSION || typeof clusterId !== 'string') throw damaged(meta.key, 'cannot be read');
  return clusterId;
}

/** The newest commit, and etcd's revision of it. `revision` of etcd is read; the newest unless given. */
export async function readHead(
  etcd: EtcdGateway,
  keys: EtcdKeys,
  revision = '0',
): Promise<{ readonly head: Head; readonly headRevision: string }> {
  const [pair] = (await etcd.range(keys.head, { revision })).pairs;
  const head = pair === undefined ? undefined : parseHead(pair.value);
  if (pair === undefined || head === undefined) throw damaged(keys.head, 'cannot be read');
  return { head, headRevision: pair.modRevision };
}

/** A large commit that is in force and may not be where it belongs: a leader before may have ended in the middle of it. */
export async function readJournal(etcd: EtcdGateway, keys: EtcdKeys, revision = '0'): Promise<readonly ChangeText[][]> {
  const [journal] = (await etcd.range(keys.journal, { revision })).pairs;
  const parts: ChangeText[][] = [];
  for (let index = 0; index < Number(journal?.value ?? 0); index += 1) {
    const [part] = (await etcd.range(keys.journalPart(index), { revision })).pairs;
    if (part === undefined) throw damaged(keys.journalPart(index), 'is missing');
    parts.push(JSON.parse(part.value) as ChangeText[]);
  }
  return parts;
}

export async function readEntries(
  etcd: EtcdGateway,
  keys: EtcdKeys,
  revision = '0',
): Promise<ReadonlyMap<string, Json>> {
  const entries = new Map<string, Json>();
  let last: EtcdPair | undefined;
  for (let more = true; more; ) {
    const from = last === undefined ? {} : { from: `${last.key}\0` };
    const page = await etcd.range(keys.entries, { prefix: true, limit: PAGE, revision, ...from });
    for (const pair of page.pairs) {
      try {
        entries.set(pair.key.slice(keys.entries.length), JSON.parse(pair.value) as Json);
      } catch {
        throw damaged(pair.key, 'is no JSON');
      }
    }
    last = page.pairs.at(-1);
    more = page.more && last !== undefined;
  }
  return entries;
}

function damaged(key: string, why: string): StoreError {
  const text = `the store in etcd is damaged: ${key} ${why}. Nothing was changed. Restore a backup with "flocker store restore".`;
  return new StoreError('store_damaged', text);
}
