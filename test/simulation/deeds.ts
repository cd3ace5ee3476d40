import { Random } from '../faults/random.ts';

/** Something that users or fate do. Numbers choose among the nodes, datasets and snapshots that there are by then. */
export interface Deed {
  readonly atMs: number;
  readonly kind: DeedKind;
  readonly node: number;
  readonly subject: number;
  /** How long it lasts, or a lease does, where that means something. */
  readonly lastsMs: number;
  /** Which of several ways, in [0, 1). */
  readonly way: number;
}

const WEIGHTS = {
  create: 6,
  move: 12,
  remove: 2,
  lease: 3,
  releaseLease: 3,
  grow: 2,
  snapshot: 3,
  removeSnapshot: 2,
  clone: 2,
  task: 12,
  killAgent: 5,
  powerOff: 3,
  cut: 6,
  reset: 3,
  killControl: 3,
  failing: 2,
  jump: 1,
} as const;
/** What may happen. */
export type DeedKind = keyof typeof WEIGHTS;
const CHOICES = Object.entries(WEIGHTS).map(([kind, weight]) => [weight, kind as DeedKind] as const);

const RIVALS = 0.3;
const SOON_AFTER = 0.15;
const DEATHS: readonly (readonly [number, DeedKind])[] = [
  [3, 'killControl'],
  [3, 'killAgent'],
  [1, 'powerOff'],
  [1, 'reset'],
];

/** What happens in a run of `forMs`, from its seed. Mostly it concerns one dataset and two nodes: there harm can come from. */
export function schedule(seed: number, forMs: number): Deed[] {
  const random = new Random(seed);
  const deeds: Deed[] = [];
  const paceMs = random.between(200, 6_000);
  // Tasks keep volumes where they are: without them more moves go on at the same time.
  const hasTasks = random.next() < 0.5;
  const next = (): DeedKind => {
    const kind = random.weighted(CHOICES);
    return kind === 'task' && !hasTasks ? 'move' : kind;
  };
  for (let atMs = random.next() * paceMs; atMs < forMs; atMs += random.next() ** 2 * 3 * paceMs) {
    deeds.push({
      ...{ atMs, kind: deeds.length < 2 ? 'create' : next() },
      ...{ node: random.next() < 0.8 ? random.between(0, 1) : random.between(2, 3) },
      ...{ subject: random.next() < 0.6 ? 0 : random.between(0, 5), lastsMs: random.next() ** 3 * 90_000 },
      way: random.next(),
    });
    // Two who want the same at the same time.
    const last = deeds.at(-1);
    if (last?.kind === 'task' && random.next() < RIVALS) {
      deeds.push({ ...last, atMs: atMs + random.next() * 30, node: (last.node + 1) % 3 });
    }
    if (random.next() > SOON_AFTER) continue;
    // Right after something was asked for is when a death hurts most.
    deeds.push({
      ...{ atMs: atMs + random.next() * 100, kind: random.weighted(DEATHS), node: random.between(0, 1), subject: 0 },
      ...{ lastsMs: random.next() ** 3 * 30_000, way: random.next() },
    });
  }
  return deeds;
}
