import type { Order } from '../api/agent-channel.ts';
import type { ProblemCode, VolumeState } from '../model/volume-state.ts';

/** One step of a backend. */
export type Step = 'create' | 'seize' | 'attach' | 'grow' | 'mount' | 'unmount' | 'detach' | 'destroy';

type Entry = Step | 'nothing' | 'blocked';

/**
 * The whole policy of the agent. Rows: what the control service wants. Columns: what is there. Every path from any state
 * to a wish is made of these steps, and `destroy` stands in one place only: deleted by the API, and nobody has it.
 */
export const TRANSITIONS: Readonly<Record<Order['want'], Readonly<Record<VolumeState['kind'], Entry>>>> = {
  mounted: { absent: 'create', detached: 'attach', attached: 'mount', mounted: 'nothing', elsewhere: 'blocked' },
  released: { absent: 'nothing', detached: 'nothing', attached: 'detach', mounted: 'unmount', elsewhere: 'nothing' },
  destroyed: { absent: 'nothing', detached: 'destroy', attached: 'detach', mounted: 'unmount', elsewhere: 'blocked' },
};

/**
 * How far a volume that is smaller than ordered has come with growing: nothing was `tried`; its backend said that it cannot
 * grow while it is mounted; or it `failed`, and until the next try it is as good as it is.
 */
export type Growth = 'untried' | 'offline' | 'failed';

/** The policy for volumes that are to be mounted and are too small. What can be used is used: to be small is no reason. */
export const GROWTH: Readonly<Record<Growth, Readonly<Record<'attached' | 'mounted', Entry>>>> = {
  untried: { attached: 'grow', mounted: 'grow' },
  offline: { attached: 'grow', mounted: 'unmount' },
  failed: { attached: 'mount', mounted: 'nothing' },
};

/** Nodes that were declared dead, from which the volume is taken over. */
export function leftBy(order: Order): readonly string[] {
  return order.want === 'released' ? [] : (order.leftBy ?? []);
}

/** Whether a volume has less than its order asks for. Backends round up, so that one that was grown never has. */
export function isTooSmall(order: Order, state: VolumeState): boolean {
  return (
    order.want === 'mounted' && order.sizeBytes !== null && 'sizeBytes' in state && state.sizeBytes < order.sizeBytes
  );
}

/** What to do next about one dataset. */
export type Plan =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'step'; readonly step: Step }
  | { readonly kind: 'blocked'; readonly code: ProblemCode; readonly message: string };

/** The next step towards an order. Total, synchronous, without I/O. */
export function plan(order: Order, state: VolumeState, growth: Growth = 'untried'): Plan {
  const grows = (state.kind === 'attached' || state.kind === 'mounted') && isTooSmall(order, state);
  const entry = grows ? GROWTH[growth][state.kind] : TRANSITIONS[order.want][state.kind];
  if (entry === 'nothing') return { kind: 'nothing' };
  if (entry === 'blocked' && state.kind === 'elsewhere' && leftBy(order).includes(state.instance)) {
    return { kind: 'step', step: 'seize' };
  }
  if (entry === 'blocked') {
    const instance = state.kind === 'elsewhere' ? state.instance : 'another node';
    return {
      kind: 'blocked',
      code: 'volume_elsewhere',
      message: `The backend says that ${instance} has dataset ${order.datasetId}. It has to let go first.`,
    };
  }
  if (entry === 'create' && order.want === 'mounted' && !order.mayCreate) {
    return {
      kind: 'blocked',
      code: 'volume_lost',
      message:
        `The volume of dataset ${order.datasetId} existed and is not to be found in this node's storage. It is not replaced ` +
        'by an empty one. Check that the storage is mounted; restore the volume from a backup, or delete the dataset.',
    };
  }
  return { kind: 'step', step: entry };
}
