import { describe, expect, it } from 'vitest';
import type { Lease } from '../model/lease.ts';
import { decideAcquireLease, decideExpireLease, decideReleaseLease } from './decide-leases.ts';
import { Deployment } from './deployment.ts';
import { A, B, DATASET } from './testing/samples.ts';

const NOW_MS = 1_000_000;

function holding(lease?: Lease): Deployment {
  const deployment = new Deployment('cluster');
  if (lease !== undefined) deployment.apply({ kind: 'lease', lease });
  return deployment;
}
const leaseUntil = (expiresAtMs: number | null): Lease => ({ datasetId: DATASET, nodeId: A, expiresAtMs });
const body = (node: string, expires: number | null): Parameters<typeof decideAcquireLease>[1] => ({
  dataset_id: DATASET,
  node_uuid: node,
  expires,
});

describe('decisions on leases', () => {
  it.each([
    ['none', undefined, A, 201],
    ['the same node', leaseUntil(null), A, 200],
    ['the same node, to the millisecond', leaseUntil(NOW_MS), A, 200],
    ['the same node, over', leaseUntil(NOW_MS - 1), A, 201],
    ['another node', leaseUntil(NOW_MS), B, 409],
    ['another node, over', leaseUntil(NOW_MS - 1), B, 201],
  ])('acquire when held by %s', (_, lease, node, status) => {
    const { reply, changes } = decideAcquireLease(holding(lease), body(node, 1.5), NOW_MS);
    expect(reply.status).toBe(status);
    const expected = [
      { kind: 'lease', lease: { datasetId: DATASET, nodeId: node, expiresAtMs: NOW_MS + 1500 } },
      { kind: 'revision', revision: 1 },
    ];
    expect(changes).toEqual(status === 409 ? [] : expected);
  });

  it('release gives back what was left', () => {
    const { reply } = decideReleaseLease(holding(leaseUntil(NOW_MS + 2500)), DATASET, NOW_MS);
    expect(reply).toEqual({ status: 200, body: body(A, 2.5) });
    expect(decideReleaseLease(holding(), DATASET, NOW_MS).reply.status).toBe(404);
    expect(decideReleaseLease(holding(), 'x', NOW_MS).reply.status).toBe(400);
  });

  it('expiry ends the lease it was set for, and no renewed one', () => {
    const lease = leaseUntil(NOW_MS);
    expect(decideExpireLease(holding(lease), lease, NOW_MS + 1).changes).toHaveLength(2);
    expect(decideExpireLease(holding(lease), lease, NOW_MS).changes).toEqual([]);
    expect(decideExpireLease(holding(leaseUntil(NOW_MS)), lease, NOW_MS + 1).changes).toEqual([]);
    expect(decideExpireLease(holding(), lease, NOW_MS + 1).changes).toEqual([]);
  });
});
