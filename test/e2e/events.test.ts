import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NodeInspection } from '../../src/api/nodes.ts';
import { EventStream } from '../support/event-stream.ts';
import { eventually } from './support/eventually.ts';
import { BACKENDS, type ClusterNode, UpCluster } from './support/up.ts';

const [backend] = BACKENDS;

describe('events of the whole cluster', () => {
  let cluster: UpCluster;
  let nodes: readonly ClusterNode[];
  let stream: EventStream;
  beforeAll(async () => {
    cluster = await UpCluster.start('--backend', backend);
    const { control, nodes: all } = await cluster.json();
    nodes = all;
    stream = await EventStream.open(Number(new URL(control.url).port), await cluster.user(), '/v1/events');
  });
  afterAll(async () => {
    stream.close();
    await cluster.remove();
  });

  /** What was seen of a dataset, in order: status and who may touch it, repetitions left out. */
  const seen = (): string[] => {
    const host = (uuid: string | null): string => nodes.find((node) => node.uuid === uuid)?.host ?? 'nobody';
    const all = stream.datasets.map(({ status, holder }) => `${status}, ${host(holder)}`);
    return all.filter((line, index) => line !== all[index - 1]);
  };

  it('show the life of a volume from beginning to end, never waiting without a reason', async () => {
    const [one, two] = nodes.map(({ host }) => host);
    const last = (line: string): Promise<void> => eventually(() => expect(seen().at(-1)).toBe(line));
    expect(await cluster.sh(1, 'told:/mnt,size=64MiB', 'echo one > /mnt/text')).toMatchObject({ status: 0 });
    await last(`mounted, ${one}`);
    expect(await cluster.sh(2, 'told:/mnt', 'cat /mnt/text')).toMatchObject({ status: 0, stdout: 'one\n' });
    await last(`mounted, ${two}`);
    expect(await cluster.ctl('destroy', '--wait', '--dataset', 'told')).toMatchObject({ status: 0 });
    await last('deleted, nobody');
    expect(seen()).toEqual([
      `pending, ${one}`,
      `mounted, ${one}`,
      `moving, ${one}`,
      `pending, ${two}`,
      `mounted, ${two}`,
      `deleting, ${two}`,
      'deleted, nobody',
    ]);
    for (const { status, problem, lease } of stream.datasets) {
      if (status !== 'mounted' && status !== 'deleted')
        expect({ status, problem }).not.toMatchObject({ problem: null });
      expect(lease === null || nodes.some(({ uuid }) => uuid === lease.node_uuid)).toBe(true);
    }
  });

  it('show a node that goes and comes back', async () => {
    const before = stream.events.length;
    await cluster.kill(2);
    const { uuid } = await cluster.node(2);
    const connected = (): boolean[] => {
      const events = stream.events.slice(before).filter(({ name }) => name === 'node');
      const about = events.map(({ data }) => data as NodeInspection).filter((node) => node.uuid === uuid);
      return about.map((node) => node.connected);
    };
    await eventually(() => expect(connected()).toEqual([false, true]), 20_000);
  });
});
