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
  const attempt = async (step: Promise<void> | undefined): Promise<void> => {
    try {
      await step;
    } catch (error) {
      if (!(error instanceof BackendError)) throw error;
      problems.push({ code: error.code, message: error.message });
    }
  };
  await Promise.all([...here.keys()].map((datasetId) => attempt(backend.unmount(datasetId, signal))));
  if (problems.length > 0) return problems;
  try {
    await removeSharedMountRoot(loadKernel(), mountRoot);
  } catch (error) {
    const code = errorCode(error) === 'EBUSY' ? 'volume_in_use' : 'backend_failed';
    problems.push({ code, message: `cannot remove the mount root ${mountRoot}: ${errorText(error)}` });
  }
  await attempt(backend.close?.(signal));
  return problems;
}
