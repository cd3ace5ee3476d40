import { FAILPOINTS, type Failpoint } from '../../src/kit/failpoint.ts';
import { Random } from './random.ts';
import type { WayName } from './ways/ways.ts';

export const NODES = [0, 1, 2] as const;
const VOLUMES = ['amber', 'birch', 'cedar', 'dune'] as const;

/** What happens to a cluster at one moment; all of it follows from the seed. */
export type Deed =
  | {
      readonly kind: 'task';
      readonly node: number;
      readonly volume: string;
      readonly forMs: number;
      readonly way: WayName;
    }
  | { readonly kind: 'killTask'; readonly node: number }
  | { readonly kind: 'move'; readonly node: number; readonly volume: string }
  | { readonly kind: 'grow'; readonly volume: string }
  | { readonly kind: 'delete'; readonly volume: string }
  | { readonly kind: 'snapshot'; readonly volume: string }
  | { readonly kind: 'deleteSnapshot' }
  | { readonly kind: 'killAgent'; readonly node: number; readonly forMs: number }
  | { readonly kind: 'killControl'; readonly forMs: number }
  | { readonly kind: 'agentAtStep'; readonly node: number; readonly steps: Steps; readonly forMs: number }
  | { readonly kind: 'controlAtStep'; readonly steps: Steps; readonly forMs: number }
  | { readonly kind: 'stopAgent'; readonly node: number; readonly forMs: number }
  | { readonly kind: 'stopControl'; readonly forMs: number }
  | { readonly kind: 'cut'; readonly node: number; readonly way: CutWay; readonly forMs: number }
  | { readonly kind: 'powerOff'; readonly node: number; readonly forMs: number; readonly declare: boolean }
  | { readonly kind: 'fill'; readonly forMs: number }
  | { readonly kind: 'mkfs'; readonly mode: 'fail' | 'hang'; readonly forMs: number }
  | { readonly kind: 'tearStore' };

/** A daemon dies at whichever of them it comes to first. */
export type Steps = readonly Failpoint[];

/** `out`: what the node sends is lost; `in`: what is sent to it. */
export type CutWay = 'both' | 'in' | 'out';

export type DeedKind = Deed['kind'];

export const WEIGHTS: Readonly<Record<DeedKind, number>> = {
  task: 30,
  killTask: 6,
  move: 8,
  grow: 3,
  delete: 4,
  snapshot: 5,
  deleteSnapshot: 3,
  killAgent: 10,
  killControl: 6,
  agentAtStep: 10,
  controlAtStep: 5,
  stopAgent: 3,
  stopControl: 2,
  cut: 8,
  powerOff: 4,
  fill: 2,
  mkfs: 3,
  tearStore: 1,
};

/** Nothing breaks before, so that every round has data to lose. */
const QUIET_MS = 8_000;

/** Deeds that a cluster without faults sees as well; `--only` leaves them in. */
const DAILY: ReadonlySet<DeedKind> = new Set([
  'task',
  'killTask',
  'move',
  'grow',
  'delete',
  'snapshot',
  'deleteSnapshot',
]);

const CONTROL_STEPS = FAILPOINTS.filter((name) => /^(control|store)\./.test(name));
const AGENT_STEPS = FAILPOINTS.filter((name) => !CONTROL_STEPS.includes(name));

/** The deeds of one round, each with the moment at which it happens. */
export function schedule(
  seed: number,
  lengthMs: number,
  only: ReadonlySet<DeedKind>,
  without: ReadonlySet<DeedKind>,
  ways: readonly WayName[],
): readonly { readonly atMs: number; readonly deed: Deed }[] {
  const random = new Random(seed);
  const kinds = (Object.keys(WEIGHTS) as DeedKind[]).filter(
    (kind) => !without.has(kind) && (only.size === 0 || DAILY.has(kind) || only.has(kind)),
  );
  const steps: { atMs: number; deed: Deed }[] = [];
  for (let atMs = 0; atMs < lengthMs; atMs += random.between(20, 900)) {
    const now = atMs < QUIET_MS ? kinds.filter((kind) => DAILY.has(kind)) : kinds;
    steps.push({ atMs, deed: draw(random.weighted(now.map((kind) => [WEIGHTS[kind], kind])), random, ways) });
  }
  return steps;
}

function draw(kind: DeedKind, random: Random, ways: readonly WayName[]): Deed {
  const node = random.between(0, NODES.length - 1);
  const volume = VOLUMES[random.between(0, VOLUMES.length - 1)] ?? '';
  // Mostly shorter than what anybody waits for, at times longer than it takes to notice.
  const forMs = random.next() < 0.8 ? random.between(50, 4_000) : random.between(4_000, 25_000);
  switch (kind) {
    case 'task':
      return {
        ...{ kind, node, volume, forMs: random.between(100, 6_000) },
        way: random.weighted(ways.map((way) => [1, way])),
      };
    case 'killTask':
      return { kind, node };
    case 'move':
      return { kind, node, volume };
    case 'grow':
    case 'delete':
    case 'snapshot':
      return { kind, volume };
    case 'deleteSnapshot':
    case 'tearStore':
      return { kind };
    case 'killAgent':
    case 'stopAgent':
      return { kind, node, forMs };
    case 'agentAtStep':
      return { kind, node, steps: some(3, AGENT_STEPS, random), forMs };
    case 'controlAtStep':
      return { kind, steps: some(1, CONTROL_STEPS, random), forMs };
    case 'killControl':
    case 'stopControl':
    case 'fill':
      return { kind, forMs };
    case 'cut':
      return {
        kind,
        node,
        way: random.weighted<CutWay>([
          [2, 'both'],
          [1, 'in'],
          [1, 'out'],
        ]),
        forMs,
      };
    case 'powerOff':
      return { kind, node, forMs, declare: random.next() < 0.6 };
    case 'mkfs':
      return { kind, mode: random.next() < 0.5 ? 'fail' : 'hang', forMs };
  }
}

function some(count: number, of: Steps, random: Random): Steps {
  return Array.from({ length: count }, () => random.weighted(of.map((step) => [1, step])));
}
