import type { Clock } from '../../../kit/clock.ts';
import { pause } from '../../../kit/clock.ts';
import { errorText } from '../../../kit/coded-error.ts';
import type { NewUuid } from '../../../kit/ids.ts';
import type { Logger } from '../../../kit/logger.ts';
import { type ChangeText, changeText } from '../change-text.ts';
import { type Json, type Store, type StoreChange, StoreError } from '../store.ts';
import { type EtcdCompare, type EtcdGateway, type EtcdOperation, EtcdUnanswered } from './etcd-gateway.ts';
import { type EtcdKeys, type Head, headText, parseHead } from './etcd-keys.ts';
import type { Leadership } from './leadership.ts';

/** Below etcd's 128 operations (`--max-txn-ops`) and 1.5 MiB (`--max-request-bytes`) of one transaction, as base64. */
const MOST_OPERATIONS = 100;
const MOST_BYTES = 512 * 1024;
const RETRY_MS = 50;
const NEVER = new AbortController().signal;

interface Waiting {
  readonly changes: readonly ChangeText[];
  readonly resolve: () => void;
  readonly reject: (error: StoreError) => void;
}

/** What an open store consists of. It owns the connection and the leadership, and ends both. */
export interface EtcdStoreParts {
  readonly clusterId: string;
  readonly etcd: EtcdGateway;
  readonly leadership: Leadership;
  readonly keys: EtcdKeys;
  readonly head: Head;
  /** etcd's revision of the key with the head. */
  readonly headRevision: string;
  readonly entries: ReadonlyMap<string, Json>;
  readonly clock: Clock;
  readonly newUuid: NewUuid;
  readonly logger: Logger;
}

/**
 * A {@link Store} in an etcd that several control services share. Only the one that leads has it open. Each commit is one
 * transaction, which etcd's majority has when it is answered, on two conditions: that this process still leads, and that nobody has
 * written since. What does not fit into one transaction is written beside first and comes into force with one.
 */
export class EtcdStore implements Store {
  readonly clusterId: string;
  readonly #parts: EtcdStoreParts;
  #atOpen: ReadonlyMap<string, Json> | undefined;
  #head: Head;
  #headRevision: string;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;
  #refusal: StoreError | undefined;
  #closed: Promise<void> | undefined;

  constructor(parts: EtcdStoreParts) {
    this.clusterId = parts.clusterId;
    this.#parts = parts;
    this.#atOpen = parts.entries;
    this.#head = parts.head;
    this.#headRevision = parts.headRevision;
  }

  get revision(): number {
    return this.#head.revision;
  }

  entries(): ReadonlyMap<string, Json> {
    if (this.#atOpen === undefined) throw new Error('entries() was called before');
    const entries = this.#atOpen;
    this.#atOpen = undefined;
    return entries;
  }

  assertCurrent(): void {
    this.#parts.leadership.assertHeld();
  }

  commit(changes: readonly StoreChange[]): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#refusal !== undefined) {
        reject(this.#refusal);
        return;
      }
      let texts: readonly ChangeText[];
      try {
        texts = changes.map(changeText);
      } catch (error) {
        this.#refusal = new StoreError('store_failed', 'an earlier commit could not be written', { cause: error });
        throw error;
      }
      this.#waiting.push({ changes: texts, resolve, reject });
      this.#writing ??= this.#writeWaiting();
    });
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#refusal ??= new StoreError('store_failed', 'the store is closed');
    await this.#writing;
    await this.#parts.leadership.resign();
    await this.#parts.etcd.close();
  }

  async #writeWaiting(): Promise<void> {
    while (this.#waiting.length > 0) {
      const group = this.#nextGroup();
      try {
        await this.#write(group);
      } catch (error) {
        this.#poison(error, group);
        break;
      }
      for (const { resolve } of group) resolve();
    }
    this.#writing = undefined;
  }

  /** As many of those that wait as fit into one transaction, and at least one. */
  #nextGroup(): readonly Waiting[] {
    let [operations, bytes, count] = [0, 0, 0];
    for (const { changes } of this.#waiting) {
      operations += changes.length;
      bytes += sizeOf(changes);
      if (count > 0 && (operations > MOST_OPERATIONS || bytes > MOST_BYTES)) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  async #write(group: readonly Waiting[]): Promise<void> {
    const { keys, newUuid } = this.#parts;
    // One transaction must not name a key twice: the last change of each counts.
    const last = new Map(group.flatMap(({ changes }) => changes).map((change) => [change.key, change] as const));
    const changes = [...last.values()];
    const head: Head = { revision: this.#head.revision + group.length, token: newUuid() };
    if (changes.length <= MOST_OPERATIONS && sizeOf(changes) <= MOST_BYTES)
      await this.#commitHead(
        head,
        changes.map((change) => keys.operation(change)),
      );
    else await this.#writeLarge(head, changes);
  }

  /** Beside first, then into force, then where it belongs. After a crash in between the next leader goes on. */
  async #writeLarge(head: Head, changes: readonly ChangeText[]): Promise<void> {
    const { keys } = this.#parts;
    const parts = inParts(changes);
    for (const [index, part] of parts.entries())
      await this.#guarded([{ kind: 'put', key: keys.journalPart(index), value: JSON.stringify(part) }]);
    await this.#commitHead(head, [{ kind: 'put', key: keys.journal, value: String(parts.length) }]);
    for (const part of parts) await this.#guarded(part.map((change) => keys.operation(change)));
    await this.#guarded(keys.journalEnd());
  }

  /** The step that makes a commit: on condition that the head is as it was, and told apart from others by its token. */
  async #commitHead(head: Head, operations: readonly EtcdOperation[]): Promise<void> {
    const { keys } = this.#parts;
    const unchanged: EtcdCompare = { key: keys.head, target: 'MOD', revision: this.#headRevision };
    const put: EtcdOperation = { kind: 'put', key: keys.head, value: headText(head) };
    for (;;) {
      const outcome = await this.#transaction([unchanged], [...operations, put], [keys.head]);
      const mine = outcome?.found[0];
      if (outcome?.done === true) this.#headRevision = outcome.revision;
      // An earlier try was carried out and its answer lost.
      else if (mine !== undefined && parseHead(mine.value)?.token === head.token) this.#headRevision = mine.modRevision;
      else if (outcome === undefined) continue;
      else throw this.#parts.leadership.lose('another one has written');
      this.#head = head;
      return;
    }
  }

  /** Operations that may be done twice. */
  async #guarded(operations: readonly EtcdOperation[]): Promise<void> {
    for (;;) {
      const outcome = await this.#transaction([], operations, []);
      if (outcome?.done === true) return;
      if (outcome !== undefined) throw this.#parts.leadership.lose('another one leads');
    }
  }

  /** Undefined when nothing is known of it: then it is tried again, for as long as this process surely leads. */
  async #transaction(
    conditions: readonly EtcdCompare[],
    operations: readonly EtcdOperation[],
    otherwise: readonly string[],
  ): Promise<Awaited<ReturnType<EtcdGateway['transaction']>> | undefined> {
    const { etcd, leadership, clock, logger } = this.#parts;
    leadership.assertHeld();
    try {
      return await etcd.transaction([leadership.condition, ...conditions], operations, otherwise);
    } catch (error) {
      if (error instanceof StoreError) throw error;
      if (!(error instanceof EtcdUnanswered)) logger.warn({ reason: errorText(error) }, 'etcd did not answer in time');
      await pause(clock, RETRY_MS, NEVER);
      return undefined;
    }
  }

  #poison(error: unknown, group: readonly Waiting[]): void {
    const text = `the store in etcd refuses all further commits: ${errorText(error)}`;
    const refusal = error instanceof StoreError ? error : new StoreError('store_failed', text, { cause: error });
    this.#refusal = refusal;
    this.#parts.logger.error(
      { revision: this.revision, reason: errorText(error) },
      'the store refuses all further commits',
    );
    const rejected = [...group, ...this.#waiting];
    this.#waiting = [];
    for (const { reject } of rejected) reject(refusal);
  }
}

function sizeOf(changes: readonly ChangeText[]): number {
  return changes.reduce((sum, { key, text = '' }) => sum + key.length + Buffer.byteLength(text) + 32, 0);
}

/** Changes in lists that each fit into one transaction, and as text into one value. */
export function inParts(changes: readonly ChangeText[]): ChangeText[][] {
  const parts: ChangeText[][] = [];
  let bytes = 0;
  for (const change of changes) {
    const size = sizeOf([change]);
    const present = parts.at(-1);
    if (present === undefined || present.length >= MOST_OPERATIONS || bytes + size > MOST_BYTES) {
      parts.push([change]);
      bytes = size;
    } else {
      present.push(change);
      bytes += size;
    }
  }
  return parts;
}
