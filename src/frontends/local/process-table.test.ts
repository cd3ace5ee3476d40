import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it, vi } from 'vitest';
import { ProcessTable } from './process-table.ts';

const isRoot = process.getuid?.() === 0;
const table = new ProcessTable();

describe('ProcessTable', () => {
  it('knows a process from a later one of the same number, and from one before a reboot', async () => {
    const child = spawn('sleep', ['60']);
    const identity = await table.identify(child.pid ?? 0);
    expect(identity).toMatchObject({ pid: child.pid, apart: false });
    if (identity === undefined) throw new Error('not there');
    expect(await table.companions(identity)).toEqual([child.pid]);
    expect(await table.companions({ ...identity, startTicks: '1' })).toEqual([]);
    expect(await table.companions({ ...identity, bootId: 'another' })).toEqual([]);
    child.kill('SIGKILL');
    await once(child, 'close');
    expect(await table.companions(identity)).toEqual([]);
    expect(await table.identify(child.pid ?? 0)).toBeUndefined();
  });

  it.skipIf(!isRoot)(
    'finds all processes of a mount namespace, also when the first has ended (needs root)',
    async () => {
      const child = spawn(
        'unshare',
        ['--mount', '--propagation', 'slave', 'sh', '-c', 'sleep 60 & echo $!; exec sleep 60'],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      );
      const second = Number(await new Promise((resolve) => child.stdout.once('data', resolve)));
      const identity = await table.identify(child.pid ?? 0);
      if (identity === undefined) throw new Error('not there');
      try {
        expect(identity.apart).toBe(true);
        expect(new Set(await table.companions(identity))).toEqual(new Set([child.pid, second]));
        child.kill('SIGKILL');
        await vi.waitFor(async () => expect(await table.companions(identity)).toEqual([second]));
      } finally {
        child.kill('SIGKILL');
        process.kill(second, 'SIGKILL');
      }
      await vi.waitFor(async () => expect(await table.companions(identity)).toEqual([]));
    },
  );
});
