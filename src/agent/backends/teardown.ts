import { errorCode, errorText } from '../../kit/coded-error.ts';
import type { Problem } from '../../model/volume-state.ts';
import { loadKernel } from '../host/kernel.ts';
import { removeSharedMountRoot } from '../host/shared-mount-root.ts';
import { type Backend, BackendError } from './backend.ts';

export interface NodeRemains {
  readonly backend: Backend;
  readonly mountRoot: string;
  readonly signal: AbortSignal;
}

/**
 * Takes everything that a node has mounted out of the kernel and removes its mount root, for a cluster that ends on a
 * machine that goes on. Volumes stay attached in the pool. What is busy is left as it is and returned, never forced.
 */
export async function teardownNode({ backend, mountRoot, signal }: NodeRemains): Promise<readonly Problem[]> {
  const problems: Problem[] = [];
  const here = await backend.listHere();
  const ends = await Promise.allSettled([...here.keys()].map((datasetId) => backend.unmount(datasetId, signal)));
  for (const end of ends) {
    if (end.status === 'fulfilled') continue;
    const error: unknown = end.reason;
    if (!(error instanceof BackendError)) throw error;
    problems.push({ code: error.code, message: error.message });
  }
  if (problems.length > 0) return problems;
  try {
    await removeSharedMountRoot(loadKernel(), mountRoot);
  } catch (error) {
    const code = errorCode(error) === 'EBUSY' ? 'volume_in_use' : 'backend_failed';
    problems.push({ code, message: `cannot remove the mount root ${mountRoot}: ${errorText(error)}` });
  }
  return problems;
}
