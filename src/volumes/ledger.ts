import { failpoint } from '../kit/failpoint.ts';
import type { DatasetId } from '../kit/ids.ts';
import { type Holding, holdingKey, parseHolding } from './holding.ts';
import { type Journal, journalPath, openJournal } from './journal.ts';
import { VolumeError } from './volume-error.ts';

/** Who holds which volume on this node: in memory for questions, on disk for the next process. */
export class Ledger {
  readonly #journal: Journal;
  readonly #holdings = new Map<string, Holding>();
  /** Holdings whose volume has to stay mounted here. */
  readonly #claims = new Set<string>();

  constructor(journal: Journal, found: readonly Holding[]) {
    this.#journal = journal;
    for (const holding of found) {
      const key = holdingKey(holding.holderId, holding.volume);
      this.#holdings.set(key, holding);
      // The holder of an intent of an earlier process may have got its path just before that process died.
      if (holding.state !== 'releasing') this.#claims.add(key);
    }
  }

  get(holderId: string, volume: string): Holding | undefined {
    return this.#holdings.get(holdingKey(holderId, volume));
  }

  all(): Holding[] {
    return [...this.#holdings.values()];
  }

  ofHolder(holderId: string): Holding[] {
    return this.all().filter((holding) => holding.holderId === holderId);
  }

  ofVolume(volume: string): Holding[] {
    return this.all().filter((holding) => holding.volume === volume);
  }

  /** Holdings of a dataset that were not released. */
  live(datasetId: DatasetId): Holding[] {
    return this.all().filter((holding) => holding.datasetId === datasetId && holding.state !== 'releasing');
  }

  /** From now on {@link claimed} counts this holding. */
  claim(holderId: string, volume: string): void {
    this.#claims.add(holdingKey(holderId, volume));
  }

  /** Live holdings of a dataset for which it has to stay mounted here. */
  claimed(datasetId: DatasetId): Holding[] {
    return this.live(datasetId).filter((holding) => this.#claims.has(holdingKey(holding.holderId, holding.volume)));
  }

  /** Changes memory at once; resolves when all are on disk. On failure those that nobody changed meanwhile go back. */
  async put(...holdings: readonly Holding[]): Promise<void> {
    const before = holdings.map((holding) => {
      const key = holdingKey(holding.holderId, holding.volume);
      return { key, holding, old: this.#holdings.get(key), claimed: this.#claims.has(key) };
    });
    for (const { key, holding } of before) this.#set(key, holding);
    try {
      await this.#journal.commit(before.map(({ key, holding }) => [key, holding]));
      failpoint('ledger.written');
    } catch (error) {
      for (const { key, holding, old, claimed } of before) {
        if (this.#holdings.get(key) !== holding) continue;
        this.#set(key, old);
        if (claimed) this.#claims.add(key);
      }
      throw error;
    }
  }

  /** Marks what an acquire that failed put there, in memory only: on disk an intent says enough for the next process. */
  abandon(holding: Holding, deleteIfCreated: boolean): void {
    this.#set(holdingKey(holding.holderId, holding.volume), { ...holding, state: 'releasing', deleteIfCreated });
  }

  /** Forgets holdings: on disk first, so that none is lost when the disk refuses. */
  async remove(...holdings: readonly Holding[]): Promise<void> {
    if (holdings.length === 0) return;
    await this.#journal.commit(holdings.map((holding) => [holdingKey(holding.holderId, holding.volume), null]));
    for (const holding of holdings) {
      const key = holdingKey(holding.holderId, holding.volume);
      if (this.#holdings.get(key) === holding) this.#set(key, undefined);
    }
  }

  /**
   * Forgets holdings for which nothing is left to do: in memory at once, on disk with whatever is written next. A process that
   * still finds them there has nothing to do for them either.
   */
  forget(...holdings: readonly Holding[]): void {
    for (const holding of holdings) {
      const key = holdingKey(holding.holderId, holding.volume);
      if (this.#holdings.get(key) !== holding) continue;
      this.#set(key, undefined);
      this.#journal.later([[key, null]]);
    }
  }

  close(): Promise<void> {
    return this.#journal.close();
  }

  #set(key: string, holding: Holding | undefined): void {
    if (holding === undefined || holding.state === 'releasing') this.#claims.delete(key);
    if (holding === undefined) this.#holdings.delete(key);
    else this.#holdings.set(key, holding);
  }
}

/** Opens the ledger in `directory` (made when missing). Fails with `ledger_damaged` rather than forgetting a holder. */
export async function openLedger(directory: string): Promise<Ledger> {
  const path = journalPath(directory);
  const journal = await openJournal(path);
  const found: Holding[] = [];
  for (const [key, value] of journal.entries()) {
    const holding = parseHolding(value);
    if (holding === undefined) {
      await journal.close();
      throw new VolumeError(
        'ledger_damaged',
        `${path}: entry ${key} does not read; was it written by a newer version?`,
      );
    }
    found.push(holding);
  }
  return new Ledger(journal, found);
}
