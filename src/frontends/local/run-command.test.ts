import { spawn, spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { runCommandLine } from './run-command.ts';
import { isInForeground } from './run-signals.ts';

const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;
const probe = ['--map-root-user', '--mount', 'true'];
const canUnshare = isRoot && spawnSync('unshare', probe, { uid: NOBODY, gid: NOBODY }).status === 0;

/** Starts a command line as `flocker run` does, prints its pid, says go, and stays. */
const PARENT = `
  const { spawn } = require('node:child_process');
  const { file, args } = JSON.parse(process.argv[1]);
  const child = spawn(file, args, { stdio: ['ignore', 'inherit', 'inherit', 'pipe', 'pipe'] });
  child.stdio[3].once('data', () => { console.log('pid ' + child.pid); child.stdio[4].end('go\\n'); });
  child.on('exit', (code) => process.exit(code ?? 1));
`;

describe.skipIf(!canUnshare)(
  'runCommandLine without root (needs root to become somebody else, and user namespaces)',
  () => {
    let directory: string;
    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), 'flocker-run-'));
      await chmod(directory, 0o755);
      for (const name of ['volume', 'target', 'read-only']) {
        await mkdir(join(directory, name));
        await chmod(join(directory, name), 0o777);
      }
      await writeFile(join(directory, 'volume', 'file'), 'there');
    });
    afterEach(() => rm(directory, { recursive: true, force: true }));

    const start = (command: readonly string[]) => {
      const path = join(directory, 'volume');
      const mounts = [
        { path, target: join(directory, 'target'), mode: 'rw' as const },
        { path, target: join(directory, 'read-only'), mode: 'ro' as const },
      ];
      const line = runCommandLine(mounts, command, { isRoot: false, env: {}, enter: '' });
      return spawn(process.execPath, ['-e', PARENT, JSON.stringify(line)], {
        uid: NOBODY,
        gid: NOBODY,
        cwd: '/',
        stdio: ['ignore', 'pipe', 'inherit'],
      });
    };

    it('mounts in a namespace of its own, also read-only', async () => {
      const script =
        'cat "$1/target/file"; touch "$1/target/new"; touch "$1/read-only/newer" 2>/dev/null || echo " refused"';
      const child = start(['sh', '-c', script, 'sh', directory]);
      let output = '';
      child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
      await new Promise((resolve) => child.once('close', resolve));
      expect(output.replace(/^pid \d+\n/m, '')).toBe('there refused\n');
      expect(await readFile(join(directory, 'volume', 'new'), 'utf8')).toBe('');
    });

    it('dies with the process that started it', async () => {
      const child = start(['sleep', '60']);
      const text = await new Promise<string>((resolve) => child.stdout.once('data', (chunk) => resolve(String(chunk))));
      const pid = Number(/pid (\d+)/.exec(text)?.[1]);
      await vi.waitFor(async () => expect(await readFile(`/proc/${pid}/cmdline`, 'utf8')).toContain('sleep'));
      child.kill('SIGKILL');
      await vi.waitFor(async () => {
        const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => 'gone');
        expect(stat).toMatch(/^gone$|\) Z /);
      });
    });
  },
);

describe('isInForeground', () => {
  it('reads /proc/<pid>/stat, whatever the name of the process', () => {
    expect(isInForeground('7 (a) b) (c) S 1 700 700 34816 700 4194304')).toBe(true);
    expect(isInForeground('7 (node) S 1 700 700 34816 701 4194304')).toBe(false);
    expect(isInForeground('7 (node) S 1 700 700 0 -1 4194304')).toBe(false);
  });
});
