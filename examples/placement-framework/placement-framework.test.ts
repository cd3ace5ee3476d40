import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { MesosResource } from '../../test/support/mesos/mesos-resources.ts';
import { MesosMaster } from '../../test/support/mesos-master.ts';
import type { Offer } from './mesos.ts';
import { rankOffers } from './rank.ts';
import { fulfils, parseWish } from './wish.ts';

const MAIN = fileURLToPath(new URL('../../dist/examples/placement-framework/main.js', import.meta.url));

const scalar = (name: string, value: number): MesosResource => ({ name, type: 'SCALAR', scalar: { value } });
const labelled = (labels: Readonly<Record<string, string>>): { key: string; value: string }[] =>
  Object.entries(labels).map(([key, value]) => ({ key, value }));
const pool = (profile: string, mib: number, labels: Readonly<Record<string, string>>): MesosResource => ({
  ...scalar('disk', mib),
  provider_id: { value: `provider-${profile}` },
  disk: { source: { type: 'RAW', profile, vendor: 'io.flocker', metadata: { labels: labelled(labels) } } },
});
const machine = (...pools: readonly MesosResource[]): MesosResource[] => [
  scalar('cpus', 4),
  scalar('mem', 4096),
  ...pools,
];

describe('a wish', () => {
  it('is read, and compared with labels', () => {
    const wish = parseWish(['size=10GiB', 'profile=gold', 'compression=zstd', 'replication>=2']);
    expect(wish).toMatchObject({ sizeMib: 10_240, profile: 'gold' });
    const met = (labels: Readonly<Record<string, string>>): boolean[] =>
      wish.conditions.map((condition) => fulfils(labelled(labels), condition));
    expect(met({ compression: 'zstd:3', replication: '3' })).toEqual([true, true]);
    expect(met({ compression: 'zstdx', replication: '1' })).toEqual([false, false]);
    expect(met({})).toEqual([false, false]);
  });
  it.each([[['media=ssd']], [['size=10']], [['size=1MiB']], [['size=1GiB', 'fast']]])('is refused: %j', (words) => {
    expect(() => parseWish(words)).toThrow(/size|fast/);
  });
});

it('says of every offer why it was or was not taken', () => {
  const offer = (hostname: string, resources: readonly MesosResource[]): Offer =>
    ({ id: { value: hostname }, agent_id: { value: hostname }, hostname, resources }) as unknown as Offer;
  const ranked = rankOffers(
    [
      offer('empty', machine()),
      offer('hdd', machine(pool('gold', 50_000, { media: 'hdd' }))),
      offer('small', machine(pool('gold', 100, { media: 'ssd' }))),
      offer('busy', [scalar('cpus', 0.01), pool('gold', 50_000, { media: 'ssd' })]),
      offer('good', machine(pool('gold', 20_000, { media: 'ssd' }))),
      offer('best', machine(pool('silver', 40_000, { media: 'ssd' }))),
    ],
    parseWish(['size=1GiB', 'media=ssd']),
    { cpus: 0.1, memMib: 64, role: 'storage' },
  );
  expect(ranked.map((one) => `${one.offer.hostname}: ${one.reason}`)).toEqual([
    'best: silver fits: media=ssd, 40000 MiB free',
    'good: gold fits: media=ssd, 20000 MiB free',
    'empty: no storage that disks can be made of',
    'hdd: gold: media is hdd, not ssd',
    'small: gold: only 100 MiB of 1024 are free',
    'busy: only 0.01 of 0.1 CPUs',
  ]);
});

describe('the framework, with a master', () => {
  let master: MesosMaster;
  beforeEach(async () => {
    master = await MesosMaster.start();
    master.addAgent('slow', machine(pool('gold', 90_000, { media: 'hdd', replication: '2' })));
    master.addAgent('fast', machine(pool('gold', 20_000, { media: 'ssd', replication: '2' })));
  });
  afterEach(async () => {
    await master.close();
    expect(master.faults).toEqual([]);
  });

  function start(...words: readonly string[]): {
    readonly said: () => string;
    readonly ended: Promise<number | null>;
    stop(): void;
  } {
    const args = ['--master', master.url, '--name', 'db', '--look-for', '0.2', ...words, '--', 'date', '>>', 'data/x'];
    const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const ended = new Promise<number | null>((resolve) => {
      child.once('exit', resolve);
    });
    return { said: () => said, ended, stop: () => void child.kill() };
  }

  it('makes the disk where the storage fits, and starts the task again where its data are', async () => {
    const program = start('size=1GiB', 'media=ssd', 'replication>=2');
    await expect.poll(() => master.tasks.length, { timeout: 20_000 }).toBe(1);
    const [first] = master.tasks;
    expect(first).toMatchObject({ agent_id: { value: 'agent-fast' }, command: { value: 'date >> data/x' } });
    expect(first?.resources.find(({ disk }) => disk !== undefined)).toMatchObject({
      scalar: { value: 1024 },
      disk: { persistence: { id: 'db' }, volume: { container_path: 'data', mode: 'RW' } },
    });
    master.taskIs('TASK_RUNNING');
    master.taskIs('TASK_FAILED', 'exited with status 1');
    await expect.poll(() => master.tasks.length, { timeout: 20_000 }).toBe(2);
    expect(master.tasks[1]?.agent_id).toEqual(first?.agent_id);
    expect(master.tasks[1]?.resources).toEqual(first?.resources);
    master.taskIs('TASK_FINISHED');
    expect(await program.ended).toBe(0);
    expect(program.said()).toContain('slow: gold: media is hdd, not ssd');
    expect(program.said()).toContain('fast: chosen, gold fits: media=ssd replication=2, 20000 MiB free');
    expect(program.said()).toContain('starting it again where its data are');
    // Three of the task, and one of the disk.
    expect(master.acknowledged.size).toBe(4);
  });

  it('finds the volume of an earlier run, and makes no second disk', async () => {
    const before = start('size=1GiB', 'media=ssd');
    await expect.poll(() => master.tasks.length, { timeout: 20_000 }).toBe(1);
    before.stop();
    await before.ended;
    master.taskIs('TASK_LOST');
    const after = start('size=1GiB', 'media=ssd');
    await expect.poll(() => master.tasks.length, { timeout: 20_000 }).toBe(2);
    master.taskIs('TASK_FINISHED');
    expect(await after.ended).toBe(0);
    const disks = master.totalsOf('fast').filter(({ disk }) => disk?.source?.type === 'MOUNT');
    expect(disks).toHaveLength(1);
  });

  it('looks again when a disk could not be made', async () => {
    let tries = 0;
    master.createDisk = () => ((tries += 1) === 1 ? 'there is no room any more' : undefined);
    const program = start('size=1GiB', 'media=ssd');
    await expect.poll(() => master.tasks.length, { timeout: 20_000 }).toBe(1);
    master.taskIs('TASK_FINISHED');
    expect(await program.ended).toBe(0);
    expect(program.said()).toContain('(OPERATION_FAILED: there is no room any more); looking again');
    // The part that was reserved for the first try was used for the second.
    expect(master.totalsOf('fast').filter(({ reservations = [] }) => reservations.length > 0)).toHaveLength(1);
  });
});
