import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { openJournal } from './journal.ts';

const BUILT = fileURLToPath(new URL('../../dist/src/volumes/journal.js', import.meta.url));
const WRITER = `
  const { openJournal } = await import(process.argv[1]);
  const journal = await openJournal(process.argv[2]);
  const from = Number(process.argv[3]);
  const lane = async (lane) => {
    for (let n = from; ; n += 1) {
      await journal.commit([[lane, n], ['last/' + lane, null], ['pad', 'x'.repeat(n % 700)]]);
      process.stdout.write(lane + ' ' + n + '\\n');
    }
  };
  await Promise.all(['a', 'b', 'c'].map(lane));
`;

function writer(path: string, from: number): ChildProcess {
  const args = ['--input-type=module', '-e', WRITER, BUILT, path, String(from)];
  return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
}

it.skipIf(!existsSync(BUILT))(
  'loses nothing that was acknowledged before kill -9 (needs a build)',
  { timeout: 60_000 },
  async () => {
    const directory = await mkdtemp(join(tmpdir(), 'flocker-journal-'));
    const path = join(directory, 'holders.journal');
    const acknowledged: Record<string, number> = { a: 0, b: 0, c: 0 };
    try {
      for (let round = 1; round <= 8; round += 1) {
        const child = writer(path, round * 1_000_000);
        let output = '';
        child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
          output += chunk;
          if (output.length > 300 * round) child.kill('SIGKILL');
        });
        await once(child, 'close');
        expect(child.signalCode).toBe('SIGKILL');
        for (const [, lane, count] of output.matchAll(/^([abc]) (\d+)\n/gm)) acknowledged[lane ?? ''] = Number(count);
        const journal = await openJournal(path);
        for (const lane of ['a', 'b', 'c']) {
          expect(Number(journal.entries().get(lane))).toBeGreaterThanOrEqual(acknowledged[lane] ?? 0);
        }
        await journal.close();
      }
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  },
);
