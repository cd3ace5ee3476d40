import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cephSkipReason } from '../support/ceph-cluster.ts';
import { CephNodes } from './support/ceph-nodes.ts';
import { eventually } from './support/eventually.ts';
import { expectSequence, lastRecord, WRITER } from './support/records.ts';
import type { UpCluster } from './support/up.ts';

const TIMEOUT_MS = 90_000;
const SILENT_SECONDS = 10;
const skip = await cephSkipReason();

describe.skipIf(skip !== null)(`a node that is silent, with volumes on Ceph${skip ?? ''}`, () => {
  let nodes: CephNodes;
  let cluster: UpCluster;

  beforeAll(async () => {
    nodes = await CephNodes.start('--fence-after', String(SILENT_SECONDS));
    cluster = nodes.cluster;
  }, 120_000);
  afterAll(() => nodes.remove(), 120_000);

  it(
    'is cut off by itself, and its volume goes on elsewhere with every record that was on disk',
    async () => {
      const writer = cluster.run(1, '-v', 'web:/mnt,size=64MiB', '--', ...WRITER);
      await writer.says(/\n20\n/);
      await nodes.killAgent(1);
      const beganMs = performance.now();
      const read = await cluster.run(2, '--timeout', '80', '-v', 'web:/mnt', '--', 'cat', '/mnt/records').ended;
      const tookMs = performance.now() - beganMs;
      expect(read).toMatchObject({ status: 0, stderr: '' });
      // Its process went on writing until it was cut off; not one record came after that.
      await eventually(() => expect(writer.running).toBe(false), TIMEOUT_MS);
      expectSequence(read.stdout, lastRecord(writer.stdout));
      const again = await cluster.sh(2, 'web:/mnt', 'cat /mnt/records');
      expect(again.stdout).toBe(read.stdout);
      expect(nodes.control.stdout).toContain('declared dead and cut off');
      expect(tookMs).toBeGreaterThan(SILENT_SECONDS * 1000 - 1_000);
      process.stdout.write(
        `from the kill of the agent to the end of a task with its data elsewhere: ${Math.round(tookMs)} ms, of which ${SILENT_SECONDS} s waiting\n`,
      );

      // It comes back, lets go of what is cut off, and can have volumes again.
      await nodes.startAgent(1);
      await cluster.connected();
      const back = await cluster.run(1, '--timeout', '60', '-v', 'web:/mnt', '--', 'cat', '/mnt/records').ended;
      expect(back).toMatchObject({ status: 0, stdout: read.stdout });
    },
    3 * TIMEOUT_MS,
  );
});
