import { parseHolding } from '../../src/volumes/holding.ts';
import type { Journal } from '../../src/volumes/journal.ts';
import type { JournalChange, Json } from '../../src/volumes/journal-format.ts';
import { Ledger } from '../../src/volumes/ledger.ts';
import type { Random } from '../faults/random.ts';
import type { ProcessClock } from './sim-clock.ts';
import { SimDisk, SimStore } from './sim-store.ts';

/** The real ledger of a process, on a simulated disk. */
export function simLedger(disk: SimDisk, clock: ProcessClock, random: Random): Ledger {
  const store = new SimStore(disk, clock, random);
  let waiting: JournalChange[] = [];
  const entries = new Map<string, Json>([...store.entries()].map(([key, value]) => [decodeURIComponent(key), value]));
  const journal: Journal = {
    entries: () => entries,
    commit: (changes) => {
      const all = [...waiting, ...changes];
      waiting = [];
      return store.commit(
        all.map(([name, value]) => {
          const key = encodeURIComponent(name);
          return value === null ? { kind: 'remove', key } : { kind: 'put', key, value };
        }),
      );
    },
    later: (changes) => {
      waiting.push(...changes);
    },
    close: () => store.close(),
  };
  return new Ledger(
    journal,
    [...entries.values()].flatMap((value) => parseHolding(value) ?? []),
  );
}
