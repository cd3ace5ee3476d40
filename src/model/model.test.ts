import { describe, expect, it } from 'vitest';
import { parseDatasetId, parseNodeId } from '../kit/ids.ts';
import { nameOf } from './dataset.ts';
import { leaseExpired } from './lease.ts';
import { needsAction, PROBLEM_CODES } from './volume-state.ts';

describe('the model', () => {
  it('names a dataset by name, then by FLOCKER_ID', () => {
    expect(nameOf({ name: 'a', FLOCKER_ID: 'b' })).toBe('a');
    expect(nameOf({ FLOCKER_ID: 'b' })).toBe('b');
    expect(nameOf({ name: '', FLOCKER_ID: 'b' })).toBe('');
    expect(nameOf({ other: 'c' })).toBeUndefined();
  });

  it('ends a lease strictly after its time, and never one without', () => {
    const text = '00000000-0000-4000-8000-000000000001';
    const [datasetId, nodeId] = [parseDatasetId(text), parseNodeId(text)];
    if (datasetId === undefined || nodeId === undefined) throw new Error('no ids');
    const lease = { datasetId, nodeId, expiresAtMs: 10 };
    expect([9, 10, 11].map((wallMs) => leaseExpired(lease, wallMs))).toEqual([false, false, true]);
    expect(leaseExpired({ ...lease, expiresAtMs: null }, Number.MAX_SAFE_INTEGER)).toBe(false);
  });

  it('gives up waiting only for what a person has to mend', () => {
    expect(PROBLEM_CODES.filter(needsAction)).toEqual([
      'volume_lost',
      'no_such_profile',
      'bad_size',
      'no_space',
      'pool_unreachable',
      'conflict',
      'unconfirmed',
    ]);
  });
});
