import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../test/support/manual-clock.ts';
import type { StorageReport } from '../api/agent-channel.ts';
import { type DatasetId, newDatasetId } from '../kit/ids.ts';
import { silentLogger } from '../kit/logger.ts';
import type { PoolFigures, ProfileTraits, VolumeUsage } from '../model/storage-state.ts';
import type { Backend } from './backends/backend.ts';
import { openBackend } from './backends/open-backend.ts';
import { differsNoticeably } from './noticeable.ts';
import { StorageWatch } from './storage-watch.ts';

const MIB = 2 ** 20;
const PACE_MS = 60_000;
const UNKNOWN: PoolFigures = {
  totalBytes: null,
  availableBytes: null,
  usedBytes: null,
  logicalBytes: null,
  physicalBytes: null,
  compressionSavedBytes: null,
  sharedSavedBytes: null,
};
const GOLD: ProfileTraits = {
  name: 'gold',
  media: 'ssd',
  compression: null,
  dedup: null,
  replication: 2,
  encryption: null,
};

let directory: string;
let clock: ManualClock;
let sent: StorageReport[];
let looks: number;
let usedBytes: number;
let mounted: Map<DatasetId, VolumeUsage | Error>;
let gate: Promise<void> | undefined;
let watch: StorageWatch;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'storage-watch-'));
  clock = new ManualClock();
  sent = [];
  looks = 0;
  usedBytes = 1000 * MIB;
  mounted = new Map();
  gate = undefined;
  const real = await openBackend(
    { backend: 'directory', root_path: join(directory, 'pool') },
    { mountRoot: join(directory, 'mounts'), instance: 'node' },
  );
  const backend: Backend = Object.assign(Object.create(real) as Backend, {
    describePool: async () => {
      looks += 1;
      await gate;
      return { profiles: [GOLD], figures: { ...UNKNOWN, usedBytes } };
    },
    usage: (id: DatasetId) => {
      const usage = mounted.get(id);
      return usage instanceof Error ? Promise.reject(usage) : Promise.resolve(usage);
    },
  });
  watch = new StorageWatch({
    ...{ backend, mounted: () => mounted.keys(), paceMs: PACE_MS, clock, logger: silentLogger },
    send: (report) => sent.push(report),
  });
});

afterEach(async () => {
  watch.disconnected();
  await rm(directory, { recursive: true });
});

/** Lets the look that is under way end; it waits for nothing but the gate. */
const settled = async (count: number): Promise<void> => {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  expect(looks).toBe(count);
};
const connected = async (): Promise<void> => {
  const before = looks;
  watch.connected();
  await settled(before + 1);
};
const later = async (ms: number): Promise<void> => {
  const before = looks;
  clock.advance(ms);
  await settled(before + 1);
};
const volume = (used: number): DatasetId => {
  const id = newDatasetId(randomUUID);
  mounted.set(id, { usedBytes: used, availableBytes: 100 * MIB - used });
  return id;
};

describe('on a new connection', () => {
  it('tells everything at once, and everything again on the next', async () => {
    const id = volume(MIB);
    await connected();
    expect(sent).toMatchObject([
      {
        kind: 'storage',
        profiles: [GOLD],
        figures: { totalBytes: null, usedBytes: 1000 * MIB },
        volumes: [{ datasetId: id, usedBytes: MIB, availableBytes: 99 * MIB }],
      },
    ]);
    watch.disconnected();
    expect(clock.pending).toBe(0);
    await connected();
    expect(sent[1]).toEqual(sent[0]);
  });

  it('does not send what it saw for the connection before', async () => {
    let open = (): void => undefined;
    gate = new Promise((resolve) => {
      open = resolve;
    });
    watch.connected();
    expect(looks).toBe(1);
    watch.disconnected();
    watch.connected();
    usedBytes = 500 * MIB;
    open();
    await settled(2);
    expect(sent.map(({ figures }) => figures.usedBytes)).toEqual([500 * MIB]);
  });
});

describe('while nothing happens', () => {
  it('looks at its pace, and tells only what differs noticeably from what it told', async () => {
    const [quiet, busy] = [volume(10 * MIB), volume(10 * MIB)];
    await connected();
    clock.advance(PACE_MS - 1);
    expect(looks).toBe(1);
    await later(1);
    expect(sent).toHaveLength(1);
    for (const addedBytes of [0.4, 0.8]) {
      usedBytes = (1000 + addedBytes) * MIB;
      await later(PACE_MS);
      expect(sent).toHaveLength(1);
    }
    usedBytes = 1001.2 * MIB;
    await later(PACE_MS);
    expect(sent[1]).toMatchObject({ figures: { usedBytes: 1001.2 * MIB }, volumes: [] });
    mounted.set(busy, { usedBytes: 20 * MIB, availableBytes: 80 * MIB });
    await later(PACE_MS);
    expect(sent[2]?.volumes).toEqual([{ datasetId: busy, usedBytes: 20 * MIB, availableBytes: 80 * MIB }]);
    expect(mounted.has(quiet)).toBe(true);
  });
});

describe('after a change', () => {
  it('looks a second later, once for all that changed meanwhile', async () => {
    await connected();
    const ids = [volume(MIB), volume(2 * MIB)];
    for (const id of ids) watch.changed(id);
    clock.advance(999);
    expect(looks).toBe(1);
    await later(1);
    expect(sent[1]?.volumes.map(({ datasetId }) => datasetId)).toEqual(ids);
    clock.advance(PACE_MS - 1);
    expect(looks).toBe(2);
  });

  it('tells a volume anew that was unmounted and mounted between two looks', async () => {
    const id = volume(MIB);
    await connected();
    watch.changed(id);
    await later(1_000);
    expect(sent[1]?.volumes).toEqual(sent[0]?.volumes);
  });

  it('looks once more when the change came during a look', async () => {
    let open = (): void => undefined;
    gate = new Promise((resolve) => {
      open = resolve;
    });
    watch.connected();
    expect(looks).toBe(1);
    const id = volume(MIB);
    watch.changed(id);
    open();
    await settled(1);
    await later(1_000);
    expect(sent.at(-1)?.volumes).toMatchObject([{ datasetId: id }]);
  });

  it('does nothing without a connection', () => {
    watch.changed(volume(MIB));
    expect(clock.pending).toBe(0);
  });
});

it('tells of a volume that cannot be measured that it is unknown', async () => {
  const id = volume(MIB);
  mounted.set(id, new Error('EIO'));
  await connected();
  expect(sent[0]?.volumes).toEqual([{ datasetId: id, usedBytes: null, availableBytes: null }]);
});

it('starts no second look while a filesystem hangs', async () => {
  let open = (): void => undefined;
  gate = new Promise((resolve) => {
    open = resolve;
  });
  watch.connected();
  expect(looks).toBe(1);
  clock.advance(10 * PACE_MS);
  watch.changed(volume(MIB));
  clock.advance(10 * PACE_MS);
  expect(looks).toBe(1);
  open();
  await settled(1);
  await later(1_000);
  expect(sent).toHaveLength(1);
});

it.each([
  [null, 0, true],
  [0, null, true],
  [100 * MIB, 100.9 * MIB, false],
  [100 * MIB, 101.1 * MIB, true],
  [1000 * MIB, 1001.1 * MIB, true],
  [4096, 8192, true],
  [0, 1, true],
  [{ a: 1, b: [{ name: 'x' }] }, { a: 1, b: [{ name: 'x' }] }, false],
  [{ a: [1, 2] }, { a: [1] }, true],
  [{ name: 'ssd' }, { name: 'hdd' }, true],
])('of %j and %j it says whether they differ noticeably: %s', (before, now, differ) => {
  expect(differsNoticeably(before, now)).toBe(differ);
});
