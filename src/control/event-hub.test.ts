import { describe, expect, it } from 'vitest';
import { type ClusterEvent, EventHub } from './event-hub.ts';
import { A, clusterOf, DATASET, dataset, node, sampleDatasetId } from './testing/samples.ts';
import { inspectionOf, nodeInspection } from './views.ts';

const ofDataset = (id = DATASET): ClusterEvent => ({
  name: 'dataset',
  data: inspectionOf(dataset({ id }), undefined, undefined, clusterOf([]), 0),
});
const ofNode: ClusterEvent = { name: 'node', data: nodeInspection(node(A)) };

describe('EventHub', () => {
  it('gives everything to those who want everything, and one dataset to those who want that', () => {
    const hub = new EventHub('run');
    const [all, one]: string[][] = [[], []];
    hub.subscribe({}, (_, id) => all?.push(id) !== undefined);
    hub.subscribe({ dataset_id: DATASET }, (_, id) => one?.push(id) !== undefined);
    for (const event of [ofDataset(), ofDataset(sampleDatasetId(2)), ofNode]) hub.publish(event);
    expect([all, one]).toEqual([['run-1', 'run-2', 'run-3'], ['run-1']]);
    expect(hub.lastId).toBe('run-3');
  });

  it('forgets those who end and those who want no more', () => {
    const hub = new EventHub('run');
    let seen = 0;
    const end = hub.subscribe({ dataset_id: DATASET }, () => true);
    hub.subscribe({}, () => {
      seen += 1;
      return false;
    });
    expect(hub.subscribers).toBe(2);
    end();
    end();
    for (let i = 0; i < 3; i += 1) hub.publish(ofDataset());
    expect([seen, hub.subscribers]).toEqual([1, 0]);
  });

  it('tells what was missed, as long as it is kept', () => {
    const hub = new EventHub('run');
    const start = hub.lastId;
    expect(hub.since(start)).toEqual([]);
    for (let i = 0; i < 1000; i += 1) hub.publish(ofNode);
    expect(hub.since(start)?.map(({ id }) => id)).toEqual(Array.from({ length: 1000 }, (_, i) => `run-${i + 1}`));
    expect(hub.since('run-999')).toEqual([{ id: 'run-1000', event: ofNode }]);
    for (let i = 0; i < 2000; i += 1) hub.publish(ofNode);
    expect(hub.since(start)).toBeUndefined();
    expect(hub.since('run-2000')).toHaveLength(1000);
  });

  it.each(['', 'junk', 'run-', 'run--1', 'run-x', 'other-1', 'run-2', 'run-1.5'])('does not know %j', (id) => {
    const hub = new EventHub('run');
    hub.publish(ofNode);
    expect(hub.since(id)).toBeUndefined();
  });
});
