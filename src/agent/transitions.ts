import type { Order } from '../api/agent-channel.ts';
import type { ProblemCode, VolumeState } from '../model/volume-state.ts';

/** One step of a backend. */
export type Step = 'create' | 'attach' | 'mount' | 'unmount' | 'detach' | 'destroy';

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

/** What to do next about one dataset. */
export type Plan =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'step'; readonly step: Step }
  | { readonly kind: 'blocked'; readonly code: ProblemCode; readonly message: string };

/** The next step towards an order. Total, synchronous, without I/O. */
export function plan(order: Order, state: VolumeState): Plan {
  const entry = TRANSITIONS[order.want][state.kind];
  if (entry === 'nothing') return { kind: 'nothing' };
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
