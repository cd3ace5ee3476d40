import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { LONGEST_MESSAGE_BYTES } from '../../src/api/agent-channel.ts';
import { type ClusterRun, clusterRun } from '../support/cluster-run.ts';
import { newId } from '../support/contract-bodies.ts';
import { startTestControl, type TestControl } from '../support/control.ts';
import { FakeAgent, helloOf, mountedState, type NodeCredentials, storageOf } from '../support/fake-agent.ts';
import { oddValue, tried, twisted } from './twisted.ts';

let control: TestControl;
let cluster: ClusterRun;
let honest: FakeAgent;
/** On the honest node, mounted. */
let dataset: string;
let attacker: NodeCredentials;

beforeAll(async () => {
  control = await startTestControl();
  cluster = clusterRun(() => control);
  const node = await control.certificates.node();
  honest = await FakeAgent.join(control.agentPort, node);
  dataset = await cluster.create(node.nodeId);
  await honest.ordered(dataset, 'mounted');
  honest.mounted(dataset);
  attacker = await control.certificates.node();
});
afterEach(() => cluster.cutAll());
afterAll(async () => {
  honest.cut();
  await control.close();
});

/** The honest node still holds its dataset, and the service still creates others and orders them. */
async function expectService(): Promise<void> {
  expect(honest.open).toBe(true);
  expect(honest.order(dataset)).toMatchObject({ want: 'mounted', mayCreate: false });
  expect(await cluster.inspect(dataset)).toMatchObject({ holder: honest.nodeId, status: 'mounted' });
  const id = await cluster.create(honest.nodeId);
  await honest.ordered(id, 'mounted');
  const { status: removed } = await control.api.delete(`/v1/configuration/datasets/${id}`);
  expect(removed).toBe(200);
  await honest.ordered(id, 'destroyed');
  honest.report(id, { kind: 'absent' });
}

const anyId = fc.oneof(fc.uuid(), fc.constant('the honest node’s'));
const states = fc.constantFrom(
  { kind: 'absent' },
  { kind: 'detached', sizeBytes: 1 },
  { kind: 'attached', sizeBytes: 2 ** 40 },
  mountedState(newId()),
  { kind: 'elsewhere', instance: 'x' },
);
const report = fc.record({
  datasetId: anyId,
  order: fc.nat(3),
  busy: fc.boolean(),
  state: states,
  problem: fc.constant(null),
});
const messages: fc.Arbitrary<object> = fc.oneof(
  fc.array(report, { maxLength: 3 }).map((has) => helloOf({ has: has as never })),
  fc.array(report, { maxLength: 3 }).map((reports) => ({ kind: 'report', reports })),
  fc.constant(storageOf()),
  anyId.map((snapshotId) => ({
    kind: 'snapshotReport',
    reports: [{ snapshotId, order: 1, busy: false, state: { kind: 'absent' }, problem: null }],
  })),
);
const frames: fc.Arbitrary<unknown> = fc.oneof(
  { arbitrary: twisted(messages), weight: 6 },
  { arbitrary: oddValue, weight: 1 },
  { arbitrary: fc.string(), weight: 1 },
  { arbitrary: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)), weight: 1 },
);

describe('an agent with a certificate of the cluster that means ill', () => {
  it('gets nothing by what it says, in whatever order: the service goes on and no other node loses anything', async () => {
    await fc.assert(
      fc.asyncProperty(fc.boolean(), fc.array(frames, { minLength: 1, maxLength: 8 }), async (polite, sent) => {
        const agent = polite
          ? await FakeAgent.join(control.agentPort, attacker)
          : await FakeAgent.dial(control.agentPort, attacker);
        for (const one of sent) {
          const frame = typeof one === 'string' || Buffer.isBuffer(one) ? one : (JSON.stringify(one) ?? '');
          agent.send(typeof frame === 'string' ? frame.replaceAll('the honest node’s', dataset) : frame);
        }
        // The service has read everything when it answers this: it takes messages one after the other.
        agent.send('{');
        await agent.closed();
        expect(honest.order(dataset)).toMatchObject({ want: 'mounted' });
      }),
      tried(150),
    );
    await expectService();
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  }, 120_000);

  const MEGABYTES_64 = LONGEST_MESSAGE_BYTES - 100;
  it.each([
    ['brackets', '['.repeat(MEGABYTES_64)],
    ['nested objects', '{"a":'.repeat(MEGABYTES_64 / 5)],
    ['empty reports', `{"kind":"hello","has":[${'{},'.repeat(MEGABYTES_64 / 3)}{}]}`],
    ['reports of nothing', `{"kind":"report","reports":[${`{"a":"${'x'.repeat(90)}"},`.repeat(600_000)}{}]}`],
    ['one string', JSON.stringify(helloOf({ host: 'x'.repeat(MEGABYTES_64 - 1000) }))],
    ['more than may be sent', 'x'.repeat(LONGEST_MESSAGE_BYTES + 1)],
  ])('is cut off soon for a huge message, and costs little memory: %s', async (_, text) => {
    const agent = await FakeAgent.dial(control.agentPort, attacker);
    const message = Buffer.from(text);
    const before = process.memoryUsage().rss;
    let peak = before;
    const look = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage().rss);
    }, 5);
    const startedMs = performance.now();
    agent.send(message);
    await expect.poll(() => agent.open, { timeout: 20_000 }).toBe(false);
    clearInterval(look);
    expect(performance.now() - startedMs).toBeLessThan(15_000);
    // This process sends it as well, masked: another 64 MiB for each copy. Parsed, brackets took 2,700 and empty objects 1,700.
    expect((peak - before) / 2 ** 20).toBeLessThan(1_200);
    await expectService();
  });

  it('cannot fill the memory with messages that wait, volumes that nobody knows, or connections', async () => {
    const agent = await FakeAgent.join(control.agentPort, attacker);
    const state = { kind: 'attached', sizeBytes: 1 };
    for (let round = 0; round < 25; round += 1) {
      const reports = Array.from({ length: 10_000 }, () => ({
        datasetId: newId(),
        order: 0,
        busy: false,
        state,
        problem: null,
      }));
      agent.send({ kind: 'report', reports });
    }
    await expect.poll(() => agent.open, { timeout: 20_000 }).toBe(false);
    await expectService();

    const dialled = await Promise.allSettled(
      Array.from({ length: 12 }, () => FakeAgent.dial(control.agentPort, attacker)),
    );
    const open = dialled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    expect(open.length).toBe(8);
    await expectService();
    for (const one of open) one.cut();
    await expect
      .poll(() => FakeAgent.join(control.agentPort, attacker).then((back) => back.cut(), String), { timeout: 10_000 })
      .toBeUndefined();
  }, 60_000);
});
