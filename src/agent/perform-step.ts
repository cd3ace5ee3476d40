import type { Order } from '../api/agent-channel.ts';
import { type DatasetId, parseSnapshotId } from '../kit/ids.ts';
import { formatSize } from '../kit/sizes.ts';
import { type Backend, BackendError } from './backends/backend.ts';
import { leftBy, type Step } from './transitions.ts';

/** Has a backend take one step of a dataset, with what the order says about it. */
export async function performStep(
  backend: Backend,
  step: Step,
  id: DatasetId,
  order: Order,
  signal: AbortSignal,
): Promise<void> {
  if (step === 'seize') {
    if (backend.seize !== undefined) return backend.seize(id, leftBy(order), signal);
    const message = `The backend ${backend.kind} of this node cannot take dataset ${id} over from a node that was declared dead.`;
    throw new BackendError('volume_elsewhere', `${message} Bring that node back.`);
  }
  if (step !== 'create' && step !== 'grow') return backend[step](id, signal);
  if (order.want !== 'mounted') throw new BackendError('backend_failed', `dataset ${id} is not to be made or to grow`);
  const { sizeBytes, metadata } = order;
  if (step === 'create') {
    const source = order.source === undefined ? undefined : parseSnapshotId(order.source);
    const recipe = { datasetId: id, sizeBytes, metadata, ...(source === undefined ? {} : { source }) };
    return backend.create(recipe, signal);
  }
  const grownBytes = sizeBytes ?? 0;
  if (backend.grow !== undefined) return backend.grow(id, grownBytes, signal);
  throw new BackendError(
    'bad_size',
    `Dataset ${id} is to have ${formatSize(grownBytes)}, and the backend ${backend.kind} of this node cannot make volumes ` +
      'larger. Make a new dataset of that size and copy the data.',
  );
}
