import type { CreateDatasetBody } from '../../src/api/datasets.ts';
import { PATHS } from '../../src/api/paths.ts';
import type { CreateSnapshotBody } from '../../src/api/snapshots.ts';
import type { Snapshotted } from './cluster-state.ts';

/** A request that the control service did not do, in its own words. */
export class RequestFailed extends Error {}

const TIMEOUT_MS = 15_000;

async function ask(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<unknown> {
  let answer: Response;
  try {
    answer = await fetch(path, {
      method,
      headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch {
    throw new RequestFailed(
      'The control service cannot be reached. Whether this was done is not known; look again in a moment.',
    );
  }
  const json = (await answer.json().catch(() => undefined)) as unknown;
  if (answer.ok) return json;
  const { description, errors } = (json ?? {}) as { description?: string; errors?: string[] };
  const details = errors === undefined || errors.length === 0 ? '' : ` (${errors.join('; ')})`;
  throw new RequestFailed(`${description ?? `The control service answered ${answer.status}`}${details}`);
}

/** Everything, as it is now. */
export async function readAll(): Promise<Snapshotted> {
  const [datasets, nodes, storage, snapshots] = await Promise.all([
    ask('GET', PATHS.inspectDatasets),
    ask('GET', PATHS.inspectNodes),
    ask('GET', PATHS.storage),
    ask('GET', PATHS.snapshots),
  ]);
  return { datasets, nodes, storage, snapshots } as Snapshotted;
}

/** A new volume; refused when its name is taken. */
export async function createVolume(body: CreateDatasetBody): Promise<void> {
  const name = body.metadata?.['name'];
  const headers = name === undefined ? {} : { 'x-flocker-if-name-unused': encodeURIComponent(name) };
  await ask('POST', PATHS.configurationDatasets, body, headers);
}

export async function moveVolume(id: string, node: string): Promise<void> {
  await ask('POST', `${PATHS.configurationDatasets}/${id}`, { primary: node });
}

export async function growVolume(id: string, sizeBytes: number): Promise<void> {
  await ask('POST', `${PATHS.configurationDatasets}/${id}/size`, { maximum_size: sizeBytes });
}

export async function deleteVolume(id: string): Promise<void> {
  await ask('DELETE', `${PATHS.configurationDatasets}/${id}`);
}

export async function takeSnapshot(body: CreateSnapshotBody): Promise<void> {
  await ask('POST', PATHS.snapshots, body);
}

export async function deleteSnapshot(id: string): Promise<void> {
  await ask('DELETE', `${PATHS.snapshots}/${id}`);
}

export async function releaseLease(id: string): Promise<void> {
  await ask('DELETE', `${PATHS.leases}/${id}`);
}
