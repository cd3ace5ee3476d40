import type { Json, StoreChange } from '../../src/control/store/store.ts';
import { emptyRecord, type ProviderRecord } from '../../src/frontends/resource-provider/provider-record.ts';
import { parseDatasetId } from '../../src/kit/ids.ts';
import type { Holding } from '../../src/volumes/holding.ts';

/** Large enough that the store's log is switched in each life, with 200 KB in every fourth commit. */
export const STORE_COMMITS = 300;
/** Large enough that the ledger is rewritten. */
export const LEDGER_COMMITS = 150;
export const RECORD_COMMITS = 60;
export const RECORD_FILE = 'provider.json';
export const RECORD_OWNER = ['org.example.flocker', 'power-loss'] as const;

const SLOTS = 7;
const LIVES = 3;

/** The numbers of commits, from 1: one to three of them at the same time, and for each time the program opens its file. */
export function lives(commits: number): number[][][] {
  const all: number[][][] = Array.from({ length: LIVES }, () => []);
  for (let number = 1; number <= commits; ) {
    const group = Array.from({ length: Math.min((number % 3) + 1, commits - number + 1) }, (_, i) => number + i);
    all[Math.floor(((number - 1) * LIVES) / commits)]?.push(group);
    number += group.length;
  }
  return all;
}

/** What the commit with that number changes, from 1. */
export function storeCommit(number: number): StoreChange[] {
  const padding = 'x'.repeat(number % 4 === 0 ? 200_000 : number % 900);
  return [
    { kind: 'put', key: 'first', value: number },
    { kind: 'put', key: `slot/${number % SLOTS}`, value: { number, padding } },
    { kind: 'remove', key: `slot/${(number + 3) % SLOTS}` },
    { kind: 'put', key: 'last', value: number },
  ];
}

/** What the store holds after so many commits. */
export function storeAfter(commits: number): Map<string, Json> {
  const entries = new Map<string, Json>();
  for (let number = 1; number <= commits; number += 1) {
    for (const change of storeCommit(number)) {
      if (change.kind === 'put') entries.set(change.key, change.value);
      else entries.delete(change.key);
    }
  }
  return entries;
}

/** What the commit with that number puts into the ledger, from 1. */
export function ledgerHolding(number: number): Holding {
  const datasetId = parseDatasetId('00000000-0000-4000-8000-000000000001');
  if (datasetId === undefined) throw new Error('no id');
  return {
    ...{ holderId: `holder/${number % SLOTS}`, detail: '', volume: 'data', datasetId, mode: 'rw' },
    ...{ state: number % 2 === 0 ? 'held' : 'intent', created: false, deleteIfCreated: false },
    ...{ path: null, sizeBytes: null, sinceMs: number, note: 'x'.repeat(number % 5 === 0 ? 40_000 : number % 700) },
  };
}

/** What the ledger holds after so many commits, sorted. */
export function ledgerAfter(commits: number): Holding[] {
  const holdings = new Map<string, Holding>();
  for (let number = 1; number <= commits; number += 1) {
    const holding = ledgerHolding(number);
    holdings.set(holding.holderId, holding);
  }
  return sortedHoldings([...holdings.values()]);
}

export function sortedHoldings(holdings: readonly Holding[]): Holding[] {
  return [...holdings].sort((a, b) => (a.holderId < b.holderId ? -1 : 1));
}

/** The provider's record after so many writes. */
export function recordAfter(writes: number): ProviderRecord {
  const empty = emptyRecord(...RECORD_OWNER);
  return writes === 0 ? empty : { ...empty, providerId: String(writes), doomed: ['x'.repeat(writes * 100)] };
}
