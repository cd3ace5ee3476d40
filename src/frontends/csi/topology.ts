import type { NodeInspection } from '../../api/nodes.ts';
import { type NodeId, parseNodeId } from '../../kit/ids.ts';
import { CsiError } from './csi-error.ts';
import type { CsiWorld } from './csi-world.ts';
import type { Topology, TopologyRequirement } from './generated/csi_pb.ts';

/** A volume can be used on every node of its pool. */
export const POOL_SEGMENT = 'io.flocker.csi/pool';
/** Where to make a volume, so that it is there already when its first user starts. */
export const NODE_SEGMENT = 'io.flocker.csi/node';

/** A node as the place for a volume. */
export interface Place {
  readonly nodeId: NodeId;
  readonly pool: string | undefined;
}

type Where = Pick<CsiWorld, 'client' | 'nodeId' | 'pool'>;

/** Segments of a node. */
export function segmentsOf({ nodeId, pool }: Place): Record<string, string> {
  return { ...(pool === undefined ? {} : { [POOL_SEGMENT]: pool }), [NODE_SEGMENT]: nodeId };
}

/** Where a volume of a pool can be used; everywhere when the pool is not known. */
export function accessibleFrom(pool: string | undefined): { segments: Record<string, string> }[] {
  return pool === undefined ? [] : [{ segments: { [POOL_SEGMENT]: pool } }];
}

/**
 * The node to make a volume on: the first of the preferred and requisite topologies that a connected node is in, this node
 * before others; this node when nothing is asked for. `pool` is where the volume's data are, if it begins with any. Fails
 * with `RESOURCE_EXHAUSTED` when there is none.
 */
export async function choosePlace(
  where: Where,
  requirement: TopologyRequirement | undefined,
  pool: string | undefined,
  signal: AbortSignal,
): Promise<Place> {
  const here: Place = { nodeId: where.nodeId, pool: where.pool };
  const wanted = [...(requirement?.preferred ?? []), ...(requirement?.requisite ?? [])];
  if (fits(here, wanted[0], pool)) return here;
  const nodes = (await where.client.inspectNodes(signal)) ?? [];
  const others = nodes.filter(({ connected }) => connected).map(placeOf);
  const all = [here, ...others.filter(({ nodeId }) => nodeId !== here.nodeId)];
  for (const topology of wanted.length === 0 ? [undefined] : wanted) {
    const place = all.find((one) => fits(one, topology, pool));
    if (place !== undefined) return place;
  }
  const asked = wanted.map(({ segments }) => JSON.stringify(segments)).join(' or ') || 'any topology';
  const source = pool === undefined ? '' : ` that reaches pool ${pool}`;
  throw new CsiError('RESOURCE_EXHAUSTED', `no connected node${source} is in ${asked}`);
}

/** Whether a volume of `pool` on `nodeId` can be used in one of the requisite topologies. */
export function fitsAny(
  pool: string | undefined,
  nodeId: NodeId | undefined,
  { requisite, preferred }: TopologyRequirement,
): boolean {
  const wanted = requisite.length === 0 ? preferred : requisite;
  return (
    wanted.length === 0 ||
    wanted.some(({ segments }) => {
      const asked = segments[POOL_SEGMENT];
      // All nodes of a pool reach a volume in it, wherever it is now.
      return asked === undefined ? segments[NODE_SEGMENT] === nodeId : asked === pool;
    })
  );
}

/** The pool that each node reaches. */
export async function poolsOf({ client, nodeId, pool }: Where, signal: AbortSignal): Promise<Map<string, string>> {
  const nodes = (await client.inspectNodes(signal)) ?? [];
  const pools = new Map(nodes.map((node) => [node.uuid.toLowerCase(), node.pool]));
  if (pool !== undefined) pools.set(nodeId, pool);
  return pools;
}

function placeOf({ uuid, pool }: NodeInspection): Place {
  const nodeId = parseNodeId(uuid);
  if (nodeId === undefined) throw new CsiError('INTERNAL', `node ${uuid} has no UUIDv4`);
  return { nodeId, pool };
}

function fits(place: Place, topology: Topology | undefined, pool: string | undefined): boolean {
  if (pool !== undefined && place.pool !== pool) return false;
  const own = segmentsOf(place);
  return Object.entries(topology?.segments ?? {}).every(([key, value]) => own[key] === value);
}
