import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { IsolatorError } from '../../src/frontends/isolator/isolator-error.ts';
import { makePlace, planPlace, unmakePlaces } from '../../src/frontends/isolator/mount-place.ts';
import { LocalError } from '../../src/frontends/local/local-error.ts';
import { makeDirectories, planMountPoint, removeDirectories } from '../../src/frontends/local/mount-points.ts';
import { runCommandLine } from '../../src/frontends/local/run-command.ts';

const ATTACKER = fileURLToPath(new URL('attacker.mjs', import.meta.url));
const RACE_MS = 2_000;
/** A busy machine takes longer until both happened that a race has. */
const LONGEST_RACE_MS = 25_000;

let base: string;
let outside: string;
let attackers: ChildProcess[];
beforeEach(async () => {
  base = await mkdtemp(join(await realpath(tmpdir()), 'flocker-race-'));
  outside = join(base, 'outside');
  await mkdir(outside);
  attackers = [];
});
afterEach(async () => {
  await Promise.all(attackers.map(end));
  await rm(base, { recursive: true, force: true });
});

async function attack(directory: string): Promise<ChildProcess> {
  const attacker = spawn(process.execPath, [ATTACKER, directory, outside], { stdio: ['ignore', 'pipe', 'inherit'] });
  attackers.push(attacker);
  await once(attacker.stdout, 'data');
  return attacker;
}

async function end(attacker: ChildProcess): Promise<void> {
  if (attacker.exitCode !== null || attacker.signalCode !== null) return;
  const ended = once(attacker, 'exit');
  attacker.kill('SIGKILL');
  await ended;
}

it.each([
  ['the sandbox', false, 'data/a/b'],
  ['an image', true, '/srv/data/a/b'],
])('nothing is made or removed outside of %s while a process swaps directories and links', async (_, image, path) => {
  const directory = join(base, 'sandbox');
  const rootfs = join(base, 'rootfs');
  await mkdir(directory);
  await mkdir(join(rootfs, 'srv'), { recursive: true });
  const surroundings = {
    ...{ directory, rootfs: image ? rootfs : undefined, sandboxDirectory: '/mnt/mesos/sandbox', allowedPaths: [] },
  };
  await attack(image ? join(rootfs, 'srv/data') : join(directory, 'data'));
  const seen = { made: 0, refused: 0 };
  for (const beganMs = performance.now(); goesOn(beganMs, seen); ) {
    try {
      const place = await planPlace(path, surroundings, false);
      expect(place.target.startsWith(image ? rootfs : directory)).toBe(true);
      makePlace(place);
      seen.made += 1;
      expect(await readdir(outside)).toEqual([]);
      unmakePlaces([place]);
    } catch (error) {
      expect(error).toBeInstanceOf(IsolatorError);
      seen.refused += 1;
    }
    expect(await readdir(outside)).toEqual([]);
  }
  // Else there was no race.
  expect(seen.made).toBeGreaterThan(0);
  expect(seen.refused).toBeGreaterThan(0);
});

it('flocker run makes no directory outside while a process swaps directories and links', async () => {
  const home = join(base, 'home');
  await mkdir(home);
  await attack(join(home, 'data'));
  const seen = { made: 0, refused: 0 };
  const escaped: string[] = [];
  for (const beganMs = performance.now(); goesOn(beganMs, seen); ) {
    try {
      const plan = await planMountPoint(join(home, 'data/a/b'));
      if (plan.target.startsWith(outside)) continue;
      makeDirectories(plan.missing);
      seen.made += 1;
      escaped.push(...(await readdir(outside)));
      removeDirectories(plan.missing);
    } catch (error) {
      expect(error).toBeInstanceOf(LocalError);
      seen.refused += 1;
    }
  }
  expect(seen.made).toBeGreaterThan(0);
  expect(escaped).toEqual([]);
});

it.skipIf(process.getuid?.() !== 0)(
  'flocker run mounts on no place outside while a process swaps directories and links (needs root)',
  async () => {
    const volume = join(base, 'volume');
    const target = join(base, 'home/data');
    await mkdir(volume);
    await writeFile(join(volume, 'mark'), '');
    await attack(target);
    const seen = { mounted: 0, refused: 0 };
    for (const beganMs = performance.now(); goesOn(beganMs, seen); ) {
      const mounts = [{ path: volume, target, mode: 'rw' as const }];
      // The command says whether the volume covers the place that the links lead to.
      const line = runCommandLine(mounts, ['test', '-e', join(outside, 'mark')], { isRoot: true, env: {}, enter: '' });
      const child = spawn(line.file, line.args, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
      const go = child.stdio[4] as Writable;
      go.on('error', () => undefined);
      go.end('go\n');
      const [status] = (await once(child, 'exit')) as [number | null];
      expect(status, 'the volume was mounted outside').not.toBe(0);
      seen[status === 1 ? 'mounted' : 'refused'] += 1;
    }
    expect(seen.mounted).toBeGreaterThan(0);
    expect(seen.refused).toBeGreaterThan(0);
  },
);

/** For its time, and until everything was seen that can be seen. */
function goesOn(beganMs: number, seen: Readonly<Record<string, number>>): boolean {
  const tookMs = performance.now() - beganMs;
  return tookMs < RACE_MS || (tookMs < LONGEST_RACE_MS && Object.values(seen).includes(0));
}
