import { DESCRIPTIONS } from '../api/errors.ts';
import type { LeaseBody } from '../api/leases.ts';
import { parseLeasedId, parseNodeId } from '../kit/ids.ts';
import { type Lease, leaseExpired } from '../model/lease.ts';
import type { Decision } from './changes.ts';
import type { Reply } from './decide-datasets.ts';
import type { DeploymentView } from './deployment.ts';

/** The last moment a date can hold, milliseconds since the epoch; beyond it the original failed too. */
const LAST_DATE_MS = 8.64e15;

/** Takes or renews a lease (contract 1.6): 201 new, 200 renewed, 409 another node has it. */
export function decideAcquireLease(
  deployment: DeploymentView,
  body: LeaseBody,
  wallMs: number,
): Decision<Reply<LeaseBody>> {
  const datasetId = parseLeasedId(body.dataset_id);
  const nodeId = parseNodeId(body.node_uuid);
  if (datasetId === undefined) return reject(400, 'The dataset_id is not a UUID.');
  if (nodeId === undefined) return reject(400, DESCRIPTIONS.schema);
  if (deployment.death(nodeId) !== undefined) return reject(409, DESCRIPTIONS.nodeDeclaredDead);
  const present = deployment.lease(datasetId);
  const held = present !== undefined && !leaseExpired(present, wallMs);
  if (held && present.nodeId !== nodeId) return reject(409, DESCRIPTIONS.leaseHeld);
  const expiresAtMs = body.expires === null ? null : wallMs + body.expires * 1000;
  if (expiresAtMs !== null && Math.abs(expiresAtMs) > LAST_DATE_MS) return reject(400, 'expires is beyond any date.');
  const lease: Lease = { datasetId, nodeId, expiresAtMs };
  return {
    reply: { status: held ? 200 : 201, body: leaseBody(lease, wallMs) },
    changes: [
      { kind: 'lease', lease },
      { kind: 'revision', revision: deployment.revision + 1 },
    ],
  };
}

/** Ends a lease, whoever holds it (contract 1.6). */
export function decideReleaseLease(deployment: DeploymentView, id: string, wallMs: number): Decision<Reply<LeaseBody>> {
  const datasetId = parseLeasedId(id);
  if (datasetId === undefined) return reject(400, 'The dataset_id in the path is not a UUID.');
  const lease = deployment.lease(datasetId);
  if (lease === undefined) return reject(404, DESCRIPTIONS.leaseNotFound);
  return {
    reply: { status: 200, body: leaseBody(lease, wallMs) },
    changes: [
      { kind: 'leaseEnded', datasetId },
      { kind: 'revision', revision: deployment.revision + 1 },
    ],
  };
}

/** Ends a lease whose time is over; decides nothing when it was renewed meanwhile. */
export function decideExpireLease(deployment: DeploymentView, expected: Lease, wallMs: number): Decision<undefined> {
  const present = deployment.lease(expected.datasetId);
  if (present !== expected || !leaseExpired(present, wallMs)) return { reply: undefined, changes: [] };
  return {
    reply: undefined,
    changes: [
      { kind: 'leaseEnded', datasetId: present.datasetId },
      { kind: 'revision', revision: deployment.revision + 1 },
    ],
  };
}

/** A lease as the API shows it: seconds that remain. */
export function leaseBody(lease: Lease, wallMs: number): LeaseBody {
  return {
    dataset_id: lease.datasetId,
    node_uuid: lease.nodeId,
    expires: lease.expiresAtMs === null ? null : (lease.expiresAtMs - wallMs) / 1000,
  };
}

function reject(status: number, description: string): Decision<Reply<never>> {
  return { reply: { status, body: { description } }, changes: [] };
}
