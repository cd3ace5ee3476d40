import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../kit/clock.ts';
import { errorCode, errorText } from '../../kit/coded-error.ts';
import { runProgram } from './run-program.ts';

const BUILT = fileURLToPath(new URL('../../../dist/src/agent/host/run-program.js', import.meta.url));
const CLOCK = fileURLToPath(new URL('../../../dist/src/kit/clock.js', import.meta.url));

describe('runProgram', () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'flocker-program-'));
  });
  afterAll(() => rm(directory, { recursive: true }));

  it('repeats what a program that fails says, and names the package of one that is missing', async () => {
    const run = { clock: systemClock, signal: AbortSignal.timeout(20_000), timeoutMs: 20_000 };
    const fails = async (name: string, debianPackage: string, ...parameters: readonly string[]): Promise<string> =>
      runProgram({ name, debianPackage }, parameters, run).then(
        () => 'no failure',
        (error: unknown) => `${String(errorCode(error))}: ${errorText(error)}`,
      );
    expect(await fails('ls', 'coreutils', '/no/such/place')).toMatch(/^program_failed: .*No such file/s);
    expect(await fails('no-such-program', 'shelf')).toMatch(/^program_missing: .*apt-get install shelf/s);
  });

  it('leaves no program behind when the process that runs it is killed', async () => {
    await writeFile(join(directory, 'hang'), `#!/bin/sh\necho $$ > ${directory}/pid\nexec /bin/sleep 600\n`, {
      mode: 0o755,
    });
    const script = `
      const { runProgram } = await import(${JSON.stringify(BUILT)});
      const { systemClock: clock } = await import(${JSON.stringify(CLOCK)});
      const run = { clock, signal: new AbortController().signal, timeoutMs: 60_000, searchPath: ${JSON.stringify(directory)} };
      await runProgram({ name: 'hang', debianPackage: 'none' }, [], run);`;
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'inherit' });
    const pid = await expect
      .poll(() => readFile(join(directory, 'pid'), 'utf8').catch(() => ''), { timeout: 20_000 })
      .toMatch(/^\d+\n$/)
      .then(() => readFile(join(directory, 'pid'), 'utf8'));
    const alive = async (): Promise<boolean> =>
      (await readFile(`/proc/${pid.trim()}/cmdline`, 'utf8').catch(() => '')) !== '';
    expect(await alive()).toBe(true);
    parent.kill('SIGKILL');
    await expect.poll(alive, { timeout: 20_000 }).toBe(false);
  });
});
