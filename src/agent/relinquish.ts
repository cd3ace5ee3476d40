import type { Clock } from '../kit/clock.ts';
import { withDeadline } from '../kit/deadline.ts';
import type { DatasetId } from '../kit/ids.ts';
import { type Backend, BackendError } from './backends/backend.ts';
import type { Convergence } from './convergence.ts';
import type { CopyConvergence } from './copies/copy-convergence.ts';

const TIMEOUT_MS = 120_000;

export interface RelinquishWorld {
  readonly backend: Backend;
  readonly convergence: Convergence;
  /** Absent where volumes cannot be copied into other pools. */
  readonly copies?: Pick<CopyConvergence, 'halt'>;
  /** Who on this node uses a dataset, in words, or undefined. */
  readonly usedBy: (id: DatasetId) => string | undefined;
  readonly clock: Clock;
}

/**
 * Gives everything that this node has back to the pool, since it was declared dead, and looks anew at what it has. Whatever
 * another node took meanwhile was at rest, or could not be taken. Fails with `volume_in_use` while something here uses a volume:
 * then nobody else can have it either, and the node stays out.
 */
export async function relinquish({ backend, convergence, copies, usedBy, clock }: RelinquishWorld): Promise<void> {
  await withDeadline(clock, TIMEOUT_MS, 'giving up all volumes', undefined, async (signal) => {
    await convergence.idle();
    await copies?.halt();
    for (const [id, state] of await backend.listHere()) {
      const user = usedBy(id);
      if (user !== undefined) {
        throw new BackendError(
          'volume_in_use',
          `dataset ${id} is used on this node by ${user}: end that, or restart the machine`,
        );
      }
      if (state.kind === 'mounted') await backend.unmount(id, signal);
      await backend.detach(id, signal);
    }
    await convergence.lookAnew();
  });
}
