import { describe, expect, it } from 'vitest';
import { settle } from './settle.ts';
import { A, B, clusterOf, dataset, held, node } from './testing/samples.ts';

const free = { kind: 'free', pool: 'pool-a', sizeBytes: 1024 } as const;

describe('settle', () => {
  it('never takes a dataset from the node that holds it', () => {
    const cluster = clusterOf([node(A, { connected: false }), node(B)]);
    for (const deleted of [false, true]) {
      const before = dataset({ primary: B, deleted, storage: held(A) });
      expect(settle(before, cluster)).toBe(before);
    }
  });

  it('gives what nobody made to its primary, to be made there', () => {
    const storage = { kind: 'held', node: A, made: false, pool: 'pool-a', sizeBytes: null };
    expect(settle(dataset(), clusterOf([node(A)])).storage).toEqual(storage);
  });

  it('gives a free volume to its primary, never to be made again', () => {
    expect(settle(dataset({ storage: free }), clusterOf([node(A)])).storage).toEqual(held(A));
  });

  it.each([
    ['is not connected', [node(A, { connected: false }), node(B)]],
    ['is unknown', [node(B)]],
    ['reaches only another pool', [node(A, { pool: 'pool-b' }), node(B)]],
  ])('lets a free volume wait while its primary %s', (_, nodes) => {
    const before = dataset({ storage: free });
    expect(settle(before, clusterOf(nodes))).toBe(before);
  });

  it('lets what nobody made wait for its primary', () => {
    const before = dataset();
    expect(settle(before, clusterOf([node(A, { connected: false }), node(B)]))).toBe(before);
  });

  it('forgets at once what was deleted before anybody made it', () => {
    expect(settle(dataset({ deleted: true }), clusterOf([])).storage).toEqual({ kind: 'gone' });
  });

  it('gives a deleted volume to its primary, or else to any connected node of its pool', () => {
    const doomed = dataset({ deleted: true, storage: free });
    expect(settle(doomed, clusterOf([node(B), node(A)])).storage).toEqual(held(A));
    expect(settle(doomed, clusterOf([node(A, { pool: 'pool-b' }), node(B)])).storage).toEqual(held(B));
    expect(settle(doomed, clusterOf([node(A, { connected: false }), node(B)])).storage).toEqual(held(B));
    expect(settle(doomed, clusterOf([node(B, { pool: 'pool-b' })]))).toBe(doomed);
  });

  it('leaves what is gone', () => {
    const gone = dataset({ deleted: true, storage: { kind: 'gone' } });
    expect(settle(gone, clusterOf([node(A)]))).toBe(gone);
  });
});
