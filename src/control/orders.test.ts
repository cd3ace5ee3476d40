import { describe, expect, it } from 'vitest';
import type { Lease } from '../model/lease.ts';
import { wishFor } from './orders.ts';
import { A, B, clusterOf, DATASET, dataset, held, mounted, node } from './testing/samples.ts';

const leaseOf = (nodeId: Lease['nodeId']): Lease => ({ datasetId: DATASET, nodeId, expiresAtMs: null });
const cluster = clusterOf([node(A), node(B)], [[A, mounted]]);
const wanted = (...args: Parameters<typeof wishFor>): string | undefined => wishFor(...args)?.want;

describe('wishFor', () => {
  it('is for the holder only', () => {
    expect(wishFor(B, dataset({ primary: B, storage: held(A) }), undefined, cluster)).toBeUndefined();
    const others = [{ kind: 'unmade' }, { kind: 'gone' }, { kind: 'free', pool: 'pool-a', sizeBytes: 1 }] as const;
    for (const storage of others) expect(wishFor(A, dataset({ storage }), undefined, cluster)).toBeUndefined();
  });

  it('wants it mounted on its primary, with what it takes to make it', () => {
    const metadata = { name: 'x' };
    const wish = { want: 'mounted', datasetId: DATASET, sizeBytes: 2048, metadata };
    const asked = { metadata, maximumSizeBytes: 2048 };
    const unmade = dataset({ ...asked, storage: held(A, { made: false }) });
    expect(wishFor(A, unmade, undefined, cluster)).toEqual({ ...wish, mayCreate: true });
    expect(wishFor(A, dataset({ ...asked, storage: held(A) }), undefined, cluster)).toEqual({
      ...wish,
      mayCreate: false,
    });
  });

  it('wants it released elsewhere, and destroyed only when it was deleted', () => {
    expect(wanted(A, dataset({ primary: B, storage: held(A) }), undefined, cluster)).toBe('released');
    for (const primary of [A, B]) {
      expect(wanted(A, dataset({ primary, deleted: true, storage: held(A) }), undefined, cluster)).toBe('destroyed');
    }
  });

  it('keeps what is mounted for a lease of the holder, and for no other', () => {
    for (const deleted of [false, true]) {
      const leaving = dataset({ primary: B, deleted, storage: held(A) });
      expect(wanted(A, leaving, leaseOf(A), cluster)).toBe('mounted');
      expect(wanted(A, leaving, leaseOf(B), cluster)).not.toBe('mounted');
      for (const unmounted of [clusterOf([node(A)]), clusterOf([node(A)], [[A, { kind: 'attached', sizeBytes: 1 }]])]) {
        expect(wanted(A, leaving, leaseOf(A), unmounted)).not.toBe('mounted');
      }
    }
  });

  it('does not change its mind over a lease while the node is busy', () => {
    const busy = clusterOf([node(A)], [[A, mounted]]);
    const state = { kind: 'attached', sizeBytes: 1 } as const;
    busy.see(A, DATASET, { datasetId: DATASET, order: 1, busy: true, state, problem: null });
    const leaving = dataset({ primary: B, storage: held(A) });
    expect(wanted(A, leaving, leaseOf(A), busy)).toBe('mounted');
    busy.see(A, DATASET, { datasetId: DATASET, order: 1, busy: false, state, problem: null });
    expect(wanted(A, leaving, leaseOf(A), busy)).toBe('released');
  });
});
