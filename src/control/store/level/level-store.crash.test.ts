import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { expectStoreError, inDirectory, openStore } from './testing/store-directory.ts';

const ROUNDS = 20;
const BUILT = fileURLToPath(new URL('../../../../dist/src/control/store/level/open-level-store.js', import.meta.url));

/** Commits from four writers, big enough that logs are switched and tables written, and prints what was acknowledged. */
const WRITER = `
  import { randomUUID } from 'node:crypto';
  import { writeSync } from 'node:fs';
  const { openLevelStore } = await import(process.argv[1]);
  const nothing = () => undefined;
  const logger = { debug: nothing, info: nothing, warn: nothing, error: nothing, child: () => logger };
  const store = await openLevelStore({ directory: process.argv[2], newUuid: randomUUID, logger });
  writeSync(1, 'open ' + store.clusterId + '\\n');
  const padding = 'x'.repeat(8192);
  const counters = store.entries();
  await Promise.all([0, 1, 2, 3].map(async (writer) => {
    for (let count = (counters.get('counter/' + writer) ?? 0) + 1; ; count += 1) {
      await store.commit([
        { kind: 'put', key: 'counter/' + writer, value: count },
        { kind: 'put', key: 'padding/' + writer + '/' + (count % 50), value: count + padding },
      ]);
      writeSync(1, writer + ' ' + count + ' ' + store.revision + '\\n');
    }
  }));
`;

function requireBuild(): void {
  expect(existsSync(BUILT), `this test runs the compiled store: run "npx tsc -b" first, ${BUILT} is missing`).toBe(
    true,
  );
}

interface Start {
  readonly opened: boolean;
  readonly complaint: string;
  /** Kills it. */
  readonly end: () => Promise<void>;
}

/** Starts a writer; resolves when it has opened the store or has ended with a complaint. */
async function startOne(directory: string): Promise<Start> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', WRITER, BUILT, directory]);
  let complaint = '';
  child.stderr.on('data', (chunk) => {
    complaint += String(chunk);
  });
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const opened = await Promise.race([
    new Promise<boolean>((resolve) => child.stdout.once('data', () => resolve(true))),
    closed.then(() => false),
  ]);
  child.stdout.resume();
  const end = async (): Promise<void> => {
    child.kill('SIGKILL');
    await closed;
  };
  return { opened, complaint, end };
}

interface Life {
  readonly clusterId: string | undefined;
  readonly counts: ReadonlyMap<string, number>;
  readonly revision: number;
}

/** Runs a writer until it is killed `afterMs` after its first acknowledgement, or after its start. */
async function liveAndDie(directory: string, afterMs: number, from: 'start' | 'first acknowledgement'): Promise<Life> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', WRITER, BUILT, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const counts = new Map<string, number>();
  let clusterId: string | undefined;
  let revision = 0;
  const kill = async (): Promise<void> => {
    await wait(afterMs);
    child.kill('SIGKILL');
  };
  let killing = from === 'start' ? kill() : undefined;
  const exited = new Promise<NodeJS.Signals | null>((resolve) => child.once('exit', (_, signal) => resolve(signal)));
  for await (const line of createInterface({ input: child.stdout })) {
    const [writer = '', second = '', third] = line.split(' ');
    if (writer === 'open') {
      clusterId = second;
    } else {
      killing ??= kill();
      counts.set(`counter/${writer}`, Number(second));
      revision = Math.max(revision, Number(third));
    }
  }
  await killing;
  expect(await exited).toBe('SIGKILL');
  return { clusterId, counts, revision };
}

describe('the level store and kill -9', () => {
  it(`keeps every acknowledged commit in ${ROUNDS} lives`, { timeout: 60_000 }, () =>
    inDirectory(async (directory) => {
      requireBuild();
      let acknowledged = 0;
      let clusterId: string | undefined;
      for (let round = 0; round < ROUNDS; round += 1) {
        const whileOpening = round % 4 === 0;
        const life = await liveAndDie(
          directory,
          Math.random() * (whileOpening ? 200 : 150),
          whileOpening ? 'start' : 'first acknowledgement',
        );
        acknowledged += life.counts.size;
        const store = await openStore(directory);
        clusterId ??= life.clusterId ?? store.clusterId;
        expect(store.clusterId).toBe(clusterId);
        expect(store.revision).toBeGreaterThanOrEqual(life.revision);
        const entries = store.entries();
        for (const [counter, count] of life.counts) expect(entries.get(counter)).toBeGreaterThanOrEqual(count);
        await store.close();
      }
      expect(acknowledged).toBeGreaterThan(ROUNDS);
    }),
  );

  it('is locked against a second process, also after this process was refused', { timeout: 20_000 }, () =>
    inDirectory(async (directory) => {
      requireBuild();
      const store = await openStore(directory);
      await expectStoreError(openStore(directory), 'store_locked', /by this process/);
      const { opened, complaint } = await startOne(directory);
      expect(opened).toBe(false);
      expect(complaint).toContain(`The store in ${directory} is in use by another process`);
      expect(complaint).toContain('store_locked');
      await store.commit([{ kind: 'put', key: 'still', value: 'mine' }]);
      await store.close();
    }),
  );

  it('never lets two of several processes in that start at once', { timeout: 30_000 }, () =>
    inDirectory(async (directory) => {
      requireBuild();
      for (let round = 0; round < 3; round += 1) {
        const starts = await Promise.all([1, 2, 3, 4].map(() => startOne(directory)));
        expect(starts.filter(({ opened }) => opened).length).toBeLessThanOrEqual(1);
        for (const { opened, complaint } of starts) if (!opened) expect(complaint).toMatch(/store_locked|store_failed/);
        await Promise.all(starts.map(({ end }) => end()));
        await (await openStore(directory)).close();
      }
    }),
  );
});
