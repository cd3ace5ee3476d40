import { describe, expect, it } from 'vitest';
import type { DatasetInspection } from '../../src/api/inspection.ts';
import type { NodeInspection } from '../../src/api/nodes.ts';
import type { PoolView } from '../../src/api/storage.ts';
import { type Action, after, type ClusterState, NOTHING } from './cluster-state.ts';
import { bytesText, parseSize } from './figures.ts';
import { verdictOf } from './verdict.ts';

const node = (fields: Partial<NodeInspection> = {}): NodeInspection => ({
  ...{
    uuid: 'a',
    host: '10.0.0.1',
    connected: true,
    last_heard: '',
    era: '',
    version: '',
    backend: 'loopback',
    pool: 'p',
  },
  profiles: [],
  ...fields,
});
const volume = (fields: Partial<DatasetInspection> = {}): DatasetInspection => ({
  configuration: { dataset_id: 'd', primary: 'a', deleted: false, metadata: { name: 'web' } },
  ...{ status: 'mounted', state: null, holder: 'a', lease: null, problem: null },
  ...fields,
});
const figures: PoolView['figures'] = {
  ...{ total: 100, available: 50, used: 50, provisioned: 70, logical: null, physical: null },
  ...{ saved_by_compression: null, saved_by_sharing: null, compression_share: null },
};
const pool = (fields: Partial<PoolView['figures']> = {}): PoolView => ({
  ...{ pool: 'p', backend: 'btrfs', nodes: ['a'], measured: null, profiles: [] },
  figures: { ...figures, ...fields },
});
const read = (...datasets: DatasetInspection[]): Action => ({
  kind: 'read',
  state: { datasets, nodes: [node()], storage: { pools: [pool()], nodes: [], total: figures }, snapshots: [] },
  atMs: 1,
});
const changed = (value: DatasetInspection): Action => ({
  kind: 'changed',
  change: { kind: 'dataset', value },
  atMs: 2,
});
const through = (...actions: Action[]): ClusterState => actions.reduce(after, NOTHING);

describe('the state of the page', () => {
  it('is that of the last reading, without what is deleted', () => {
    const state = through(read(volume(), volume({ status: 'deleted' })), read(volume({ status: 'deleted' })));
    expect(state.connection).toBe('live');
    expect([...state.datasets.keys()]).toEqual([]);
    expect(state.happenings).toEqual([]);
  });

  it('tells what happens to a volume, once', () => {
    const moving = volume({ status: 'moving' });
    const state = through(read(volume()), changed(moving), changed(moving), changed(volume()));
    expect(state.happenings.map(({ text }) => text)).toEqual([
      'Volume web is mounted on 10.0.0.1',
      'Volume web is moving',
    ]);
    const gone = after(state, changed(volume({ status: 'deleted' })));
    expect(gone.datasets.size).toBe(0);
    expect(gone.happenings[0]?.text).toBe('Volume web is deleted');
  });

  it('tells of nodes and keeps what is known while the control service is away', () => {
    const away: Action = { kind: 'changed', change: { kind: 'node', value: node({ connected: false }) }, atMs: 3 };
    const state = through(read(volume()), away, { kind: 'lost' });
    expect(state).toMatchObject({ connection: 'away', happenings: [{ text: 'Node 10.0.0.1 is away' }] });
    expect(state.datasets.size).toBe(1);
    expect(after(state, { kind: 'found' }).connection).toBe('live');
    expect(after(NOTHING, { kind: 'lost' }).connection).toBe('loading');
  });

  it('samples what is known of use and savings, and leaves unknown what nobody knows', () => {
    const saving = pool({ saved_by_compression: 10, saved_by_sharing: 5 });
    const storage: Action = { kind: 'changed', change: { kind: 'storage', value: saving }, atMs: 4 };
    expect(through(read(), storage).samples).toEqual([
      { atMs: 1, usedBytes: 50, savedBytes: null },
      { atMs: 4, usedBytes: 50, savedBytes: 15 },
    ]);
  });
});

describe('the verdict', () => {
  it('is well, on the way, or names what needs attention', () => {
    expect(verdictOf(through(read(volume())))).toMatchObject({ level: 'well', text: 'All is well: 1 volume' });
    const problem = { code: 'in_progress', message: 'is being mounted', needs_action: false };
    expect(verdictOf(through(read(volume({ problem }))))).toMatchObject({ level: 'busy', troubles: [] });
    const lost = { code: 'volume_lost', message: 'it is not there', needs_action: true };
    expect(verdictOf(through(read(volume({ problem: lost }))))).toMatchObject({
      ...{ level: 'bad', text: 'One thing needs attention', troubles: [{ text: 'Volume web: it is not there' }] },
    });
    const full: Action = { kind: 'changed', change: { kind: 'storage', value: pool({ used: 95 }) }, atMs: 5 };
    expect(verdictOf(through(read(), full)).troubles).toMatchObject([{ text: 'Pool p is nearly full.' }]);
  });
});

describe('figures', () => {
  it.each([
    ['10', 10 * 2 ** 30],
    ['1.5 TiB', 1.5 * 2 ** 40],
    ['500m', 500 * 2 ** 20],
    ['64 MiB', 2 ** 26],
    ['much', undefined],
    ['0', undefined],
    ['-1', undefined],
  ])('reads %s', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each([
    [null, '–'],
    [0, '0 B'],
    [1536, '1.5 KiB'],
    [2 ** 26, '64 MiB'],
  ])('shows %s', (bytes, text) => {
    expect(bytesText(bytes)).toBe(text);
  });
});
