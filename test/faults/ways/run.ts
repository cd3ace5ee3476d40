import { LocalClient } from '../../../src/frontends/local/local-client.ts';
import type { FaultCluster } from '../fault-cluster.ts';
import type { Way } from './way.ts';

const WAITS_SECONDS = 25;
const ANSWER_MS = 5_000;

/** `flocker run` waits, mounts and gives back by itself; it is started when an agent answers. */
export function runWay(cluster: FaultCluster): Way {
  return {
    user: (node, volume) => ({
      take: async () => {
        await new LocalClient(cluster.sockets(node).socket).volumes(AbortSignal.timeout(ANSWER_MS));
      },
      command: (forMs) => cluster.runCommand(node, volume, WAITS_SECONDS, cluster.writer('/mnt', forMs)),
      leave: () => Promise.resolve(),
    }),
  };
}
