import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { openLevelStore } from '../../src/control/store/level/open-level-store.ts';
import { readRecord } from '../../src/frontends/resource-provider/provider-record.ts';
import { silentLogger } from '../../src/kit/logger.ts';
import { openLedger } from '../../src/volumes/ledger.ts';
import {
  LEDGER_COMMITS,
  ledgerAfter,
  RECORD_COMMITS,
  RECORD_FILE,
  RECORD_OWNER,
  recordAfter,
  STORE_COMMITS,
  sortedHoldings,
  storeAfter,
} from './commits.ts';

/** What a program had acknowledged when the power went. */
export interface Acknowledgements {
  /** The highest number; commits are numbered in the order in which they were asked for. */
  readonly committed: number;
  readonly clusterId: string | undefined;
}

/** Something that has to survive a power cut. */
export interface Subject {
  readonly name: string;
  /** In `programs`. Its argument is a directory. */
  readonly program: string;
  /** Opens with the real code what a cut left, and says what is wrong with it. */
  readonly fault: (directory: string, acknowledged: Acknowledgements) => Promise<string | undefined>;
}

const store: Subject = {
  name: 'store',
  program: 'store-writer',
  fault: async (directory, { committed, clusterId }) => {
    for (const time of ['first', 'second']) {
      const opened = await openLevelStore({ directory, newUuid: randomUUID, logger: silentLogger });
      const entries = opened.entries();
      const { revision } = opened;
      await opened.close();
      if (clusterId !== undefined && opened.clusterId !== clusterId) return `it became cluster ${opened.clusterId}`;
      if (revision < committed) return `it is at ${revision} when opened the ${time} time`;
      if (revision > STORE_COMMITS || !isDeepStrictEqual(entries, storeAfter(revision))) {
        return `its entries are not those of revision ${revision}`;
      }
    }
    return undefined;
  },
};

const ledger: Subject = {
  name: 'ledger',
  program: 'ledger-writer',
  fault: async (directory, { committed }) => {
    const opened = await openLedger(directory);
    const holdings = sortedHoldings(opened.all());
    await opened.close();
    for (let commits = committed; commits <= LEDGER_COMMITS; commits += 1) {
      if (isDeepStrictEqual(holdings, ledgerAfter(commits))) return undefined;
    }
    return `its ${holdings.length} holdings are of no moment after that`;
  },
};

const record: Subject = {
  name: 'record',
  program: 'record-writer',
  fault: async (directory, { committed }) => {
    const found = await readRecord(join(directory, RECORD_FILE), ...RECORD_OWNER);
    for (let writes = committed; writes <= RECORD_COMMITS; writes += 1) {
      if (isDeepStrictEqual(found, recordAfter(writes))) return undefined;
    }
    return `it holds what was written as number ${found.providerId}`;
  },
};

export const SUBJECTS: readonly Subject[] = [store, ledger, record];
