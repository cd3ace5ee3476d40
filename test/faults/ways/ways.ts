import type { FaultCluster } from '../fault-cluster.ts';
import { CsiWay } from './csi.ts';
import { dockerWay } from './docker.ts';
import { isolatorWay } from './isolator.ts';
import { runWay } from './run.ts';
import type { Way } from './way.ts';

/** Each by its name in `--ways`. CSI has two callers: such that know the controller, and such that do not. */
export const WAYS = {
  run: ['run'],
  csi: ['csi', 'csi with controller'],
  docker: ['docker'],
  isolator: ['isolator'],
} as const;

export type WayName = (typeof WAYS)[keyof typeof WAYS][number];
export type Ways = Readonly<Record<WayName, Way>>;

export function openWays(cluster: FaultCluster): Ways {
  return {
    run: runWay(cluster),
    csi: new CsiWay(cluster, false),
    'csi with controller': new CsiWay(cluster, true),
    docker: dockerWay(cluster),
    isolator: isolatorWay(cluster),
  };
}

/** The ways of a list as `--ways` has it; all of an empty one, undefined when it has something else. */
export function parseWays(text: string): readonly WayName[] | undefined {
  const names = text === '' ? Object.keys(WAYS) : text.split(',');
  if (!names.every((name): name is keyof typeof WAYS => name in WAYS)) return undefined;
  return names.flatMap((name) => WAYS[name]);
}
