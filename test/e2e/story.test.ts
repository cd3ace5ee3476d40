import { chmod, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Ended, PROGRAMS, Program, start } from './support/program.ts';
import { Scratch } from './support/scratch.ts';

const STEPS = ['cluster', 'first_task', 'moved_task', 'local_task'];
const WITHOUT_ROOT = fileURLToPath(new URL('./without-root.sh', import.meta.url));

let scratch: Scratch;
beforeEach(async () => {
  scratch = await Scratch.make();
});
afterEach(() => scratch.remove());

describe('the story', () => {
  it('is told as one JSON object, and leaves nothing', async () => {
    expectStory(await start('story', ['--once', '--json'], scratch.env).ended);
    expect(await readdir(scratch.directory)).toEqual([]);
  });

  it('is told to people, and goes on until Ctrl-C', async () => {
    const story = start('story', [], scratch.env);
    await story.says('Ctrl-C stops the cluster', 60_000);
    expect(story.stdout).toContain('"visit 1 on node1", "visit 2 on node2", "visit 3 on node2"');
    const [hint = ''] = /node \S+ run --cluster .*/.exec(story.stdout) ?? [];
    const tried = await new Program('sh', ['-c', hint.replace(/^node/, `'${process.execPath}'`)], scratch.env).ended;
    expect(tried).toMatchObject({ status: 0, stdout: expect.stringContaining('visit 3 on node2') as string });
    story.kill('SIGINT');
    expect(await story.ended).toMatchObject({ status: 0, stderr: '' });
    expect(await readdir(scratch.directory)).toEqual([]);
  });

  it.each(['Start a control service', 'It ended; run it again'])(
    'leaves nothing when Ctrl-C ends it at "%s"',
    async (step) => {
      // A group of its own, as a terminal sends the signal to all of the group.
      const story = new Program('setsid', [process.execPath, PROGRAMS.story, '--once'], scratch.env);
      await story.says(step, 60_000);
      process.kill(-story.pid, 'SIGINT');
      expect(await story.ended).toMatchObject({
        status: 130,
        stderr: expect.stringContaining('interrupted') as string,
      });
      expect(await readdir(scratch.directory)).toEqual([]);
    },
  );

  it('says which step failed and leaves nothing', async () => {
    const broken = join(scratch.directory, 'unshare');
    await writeFile(broken, '#!/bin/sh\necho no namespaces today >&2\nexit 3\n');
    await chmod(broken, 0o755);
    const env = { ...scratch.env, PATH: `${scratch.directory}:${process.env['PATH']}` };
    const { status, stdout, stderr } = await start('story', ['--once', '--json'], env).ended;
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: expect.stringContaining('no namespaces') as string });
    expect(stderr).toContain('The task on node 1 ended with status 3: no namespaces today');
    expect(await readdir(scratch.directory)).toEqual(['unshare']);
  });

  it.runIf(process.getuid?.() === 0)('is told without root too', async () => {
    await chmod(scratch.directory, 0o755);
    expectStory(await new Program('bash', [WITHOUT_ROOT, scratch.directory, '--json'], scratch.env).ended);
    expect(await readdir(scratch.directory)).toEqual([]);
  });
});

function expectStory({ status, stdout, stderr }: Ended): void {
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const told = JSON.parse(stdout) as { ok: boolean; steps: { name: string; ms: number }[] };
  expect(Object.keys(told)).toEqual(['ok', 'steps']);
  expect(told.ok).toBe(true);
  expect(told.steps.map(({ name }) => name)).toEqual(STEPS);
  for (const step of told.steps) expect(step).toEqual({ name: step.name, ms: expect.any(Number) as number });
}
