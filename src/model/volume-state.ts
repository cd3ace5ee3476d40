/**
 * What one node sees of one dataset.
 *
 * - `absent`: no such volume within this node's reach.
 * - `detached`: it exists in the node's pool and this node does not have it.
 * - `attached`: this node has it (its device is open here), but it is not mounted where it belongs.
 * - `mounted`: mounted read-write at `path`.
 * - `elsewhere`: the backend says that another node has it.
 */
export type VolumeState =
  | { readonly kind: 'absent' }
  | { readonly kind: 'detached'; readonly sizeBytes: number }
  | { readonly kind: 'attached'; readonly sizeBytes: number }
  | { readonly kind: 'mounted'; readonly sizeBytes: number; readonly path: string }
  | { readonly kind: 'elsewhere'; readonly instance: string };

/** Why a dataset is not as it should be, in words for the person who waits for it. */
export interface Problem {
  readonly code: ProblemCode;
  /** What failed, which volume and node, and what to do. */
  readonly message: string;
}

/** The closed set of things that keep a dataset from its desired state. */
export const PROBLEM_CODES = [
  'volume_lost',
  'volume_elsewhere',
  'volume_in_use',
  'no_such_profile',
  'bad_size',
  'no_space',
  'backend_failed',
  'node_unknown',
  'node_away',
  'pool_unreachable',
  'waiting_for_release',
  'waiting_for_lease',
  'conflict',
  'in_progress',
  'unconfirmed',
] as const;
export type ProblemCode = (typeof PROBLEM_CODES)[number];

/** Whether a person has to act before it gets better: who waits for a mount can give up at once. */
export function needsAction(code: ProblemCode): boolean {
  return NEEDS_ACTION.has(code);
}

const NEEDS_ACTION: ReadonlySet<ProblemCode> = new Set([
  'volume_lost',
  'no_such_profile',
  'bad_size',
  'no_space',
  'pool_unreachable',
  'conflict',
  'unconfirmed',
]);
