import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openBackend } from '../../src/agent/backends/open-backend.ts';
import { dialControl } from '../../src/agent/control-channel.ts';
import { ControlLink } from '../../src/agent/control-link.ts';
import { Convergence } from '../../src/agent/convergence.ts';
import { SnapshotConvergence } from '../../src/agent/snapshot-convergence.ts';
import { StorageWatch } from '../../src/agent/storage-watch.ts';
import { connectFlocker } from '../../src/client/connect-flocker.ts';
import { systemClock } from '../../src/kit/clock.ts';
import type { NodeId } from '../../src/kit/ids.ts';
import { silentLogger } from '../../src/kit/logger.ts';
import { startTestControl, type TestControl } from '../support/control.ts';
import { flockerClientContract } from './flocker-client.ts';

const surroundings = { clock: systemClock, random: Math.random, logger: silentLogger };

flockerClientContract('the control service with agents', { additions: true }, async () => {
  const control = await startTestControl({ store: 'level' });
  const pool = await mkdtemp(join(tmpdir(), 'flocker-pool-'));
  const nodes = new Map<NodeId, { readonly era: string; readonly close: () => Promise<void> }>();
  const client = connectFlocker({
    ...{ urls: [`https://127.0.0.1:${control.restPort}`], tls: await control.certificates.user('client') },
    ...surroundings,
  });
  return {
    client,
    addNode: async () => {
      const { nodeId, ...tls } = await control.certificates.node();
      const era = randomUUID();
      nodes.set(nodeId, { era, close: await startNode(control, { pool, nodeId, tls, era }) });
      return nodeId;
    },
    eraOf: (node) => nodes.get(node)?.era ?? '',
    close: async () => {
      await client.close();
      await Promise.all([...nodes.values()].map((node) => node.close()));
      await control.close();
      await rm(pool, { recursive: true });
    },
  };
});

interface NodeParts {
  readonly pool: string;
  readonly nodeId: NodeId;
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly era: string;
}

/** An agent as the daemon builds it, on the directory backend; resolves with how to end it. */
async function startNode(control: TestControl, { pool, nodeId, tls, era }: NodeParts): Promise<() => Promise<void>> {
  const section = { backend: 'directory', root_path: join(pool, 'volumes') };
  const backend = await openBackend(section, { mountRoot: join(pool, nodeId), instance: nodeId });
  const convergence: Convergence = new Convergence({
    ...{ backend, usedBy: () => undefined },
    report: (report) => {
      link.report(report);
      snapshots.noteReport(report);
    },
    ...surroundings,
  });
  const snapshots = new SnapshotConvergence({
    ...{ backend, between: (id, work) => convergence.between(id, work) },
    report: (report) => link.reportSnapshot(report),
    ...surroundings,
  });
  const storage: StorageWatch = new StorageWatch({
    ...{ backend, mounted: () => convergence.mounted(), paceMs: 1_000, ...surroundings },
    send: (report) => link.tellStorage(report),
  });
  await convergence.start();
  const identity = { era, version: 'test', backend: backend.kind, pool: backend.pool, profiles: backend.profiles };
  const link = new ControlLink({
    dials: [
      dialControl({
        hostname: '127.0.0.1',
        port: control.agentPort,
        address: undefined,
        tls,
        logger: silentLogger,
      }),
    ],
    ...{ identity, convergence, snapshots, storage },
    ...surroundings,
  });
  link.start();
  await link.firstOrders();
  return async () => {
    link.close();
    await Promise.all([convergence.idle(), snapshots.idle()]);
  };
}
