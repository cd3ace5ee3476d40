import type { Deed, DeedKind } from './deeds.ts';
import type { SimCluster } from './sim-cluster.ts';
import type { Link } from './sim-network.ts';
import type { SimNode } from './sim-node.ts';

/** Names of volumes that tasks want. */
const NAMES = 3;
/** An operator tries again after so long. */
const DECLARES_AGAIN_MS = 10_000;

interface Victim {
  readonly cluster: SimCluster;
  readonly node: SimNode;
  readonly link: Link;
  readonly deed: Deed;
}

const MISFORTUNES: Partial<Record<DeedKind, (victim: Victim) => void>> = {
  task: ({ node, deed: { subject, lastsMs } }) => {
    node.tasks.start(() => node.volumes, `volume-${subject % NAMES}`, lastsMs);
  },
  killAgent: ({ cluster, node, deed }) => {
    if (!node.isOn) return;
    node.kill();
    cluster.clock.timer(deed.lastsMs / 3, () => {
      if (node.isOn) node.start();
    });
  },
  powerOff: ({ cluster, node, deed: { way, lastsMs } }) => {
    if (!node.isOn) return;
    node.powerOff();
    // An operator sees that it is off, and says so.
    if (way < 0.7) cluster.clock.timer((lastsMs * way) / 0.7, () => declareDead(cluster, node));
    cluster.clock.timer(4 * lastsMs, () => node.start());
  },
  cut: ({ cluster, link, deed: { way, lastsMs } }) => {
    if (way < 0.7) link.cut('toControl');
    if (way > 0.3) link.cut('fromControl');
    cluster.clock.timer(lastsMs, () => link.heal());
  },
  reset: ({ node }) => node.reset(),
  killControl: ({ cluster: { clock, control }, deed: { way, lastsMs } }) => {
    control.die(way < 0.7 ? 'killed' : 'off');
    clock.timer(lastsMs / 3, () => control.start());
  },
  jump: ({ cluster: { control }, node, deed: { way, lastsMs } }) => {
    // Of the control service or of the node, forward or back, seconds or an hour.
    const byMs = way < 0.5 ? lastsMs : 40 * lastsMs;
    (way % 0.2 < 0.1 ? control : node).jumpWall(way % 0.1 < 0.05 ? byMs : -byMs);
  },
  failing: ({ cluster, node, deed: { way, lastsMs } }) => {
    cluster.failing.set(node.id, 0.2 + way * 0.8);
    cluster.clock.timer(lastsMs, () => cluster.failing.delete(node.id));
  },
};

/** Lets happen to a machine, a daemon or a cable what the deed says. */
export function befall(cluster: SimCluster, deed: Deed): void {
  const node = cluster.nodes[deed.node];
  const link = cluster.links[deed.node];
  if (node !== undefined && link !== undefined) MISFORTUNES[deed.kind]?.({ cluster, node, link, deed });
}

function declareDead(cluster: SimCluster, node: SimNode): void {
  const again = (): void => void cluster.clock.timer(DECLARES_AGAIN_MS, () => declareDead(cluster, node));
  const { service } = cluster.control;
  if (node.isOn) return;
  if (service === undefined) {
    again();
    return;
  }
  void service.declareDead(node.id).then(({ status }) => {
    cluster.count(`declareDead answered ${status}`);
    // It still counts as connected.
    if (status === 409) again();
  });
}
