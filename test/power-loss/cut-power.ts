import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { errorText } from '../../src/kit/coded-error.ts';
import { Random } from '../faults/random.ts';
import { readCalls, TRACED } from './file-calls.ts';
import { type Loss, LossyDisk } from './lossy-disk.ts';
import { replay } from './replay.ts';
import type { Subject } from './subjects.ts';

/** The programs run compiled, wherever this file is read from. */
const PROGRAMS = import.meta.url.endsWith('.ts') ? '../../dist/test/power-loss/programs/' : './programs/';
/** Where there is one, a filesystem in memory: nothing here has to last. */
const SCRATCH = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
/** Of a cut, what was not synced is lost, is there, or is partly there, so often. */
const LOSSES: readonly Loss[] = ['everything', 'nothing', 'some', 'some', 'some'];

/** What came of cutting the power again and again. */
export interface CutReport {
  /** Calls that changed the disk: instants at which a cut can come. */
  readonly instants: number;
  readonly cuts: number;
  readonly acknowledged: number;
  readonly faults: readonly string[];
}

/**
 * Runs a subject's program once, and then, for cuts of the power at `cuts` instants chosen by the seed (all, each with every
 * kind of loss, when that is more than there are), opens what each leaves with the real code. Needs strace and a build.
 */
export async function cutPower(subject: Subject, seed: number, cuts: number): Promise<CutReport> {
  const scratch = await realpath(await mkdtemp(join(SCRATCH, 'flocker-power-loss-')));
  try {
    const root = join(scratch, 'root');
    await mkdir(root);
    const calls = await traced(subject, root, join(scratch, 'trace'));
    const instants = [...replay(calls, root, new LossyDisk())].filter(({ kind }) => kind === 'call').length;
    const states = instants * LOSSES.length;
    const random = new Random(seed);
    const chosen = (): boolean => random.next() * states < cuts;
    const disk = new LossyDisk();
    const acknowledged: { committed: number; clusterId: string | undefined } = { committed: 0, clusterId: undefined };
    const faults: string[] = [];
    let done = 0;
    let instant = 0;
    for (const happening of replay(calls, root, disk)) {
      if (happening.kind === 'said') {
        const [word, value = ''] = happening.line.split(' ');
        if (word === 'open') acknowledged.clusterId ??= value;
        else acknowledged.committed = Math.max(acknowledged.committed, Number(value));
        continue;
      }
      instant += 1;
      for (const loss of LOSSES) {
        if (!chosen()) continue;
        done += 1;
        const left = join(scratch, 'left');
        await mkdir(left);
        disk.writeAfterCut(left, loss, random);
        const fault = await subject.fault(left, acknowledged).catch(errorText);
        await rm(left, { recursive: true });
        if (fault === undefined) continue;
        faults.push(
          `cut ${instant} of ${instants}, after ${happening.text}, losing ${loss} not synced, with ` +
            `${acknowledged.committed} acknowledged: ${fault}`,
        );
      }
    }
    return { instants, cuts: done, acknowledged: acknowledged.committed, faults };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function traced({ program }: Subject, root: string, trace: string): Promise<ReturnType<typeof readCalls>> {
  const script = fileURLToPath(new URL(`${PROGRAMS}${program}.js`, import.meta.url));
  if (!existsSync(script)) throw new Error(`${script} is missing: run "npx tsc -b" first`);
  const options = [
    '-f',
    '-xx',
    '-s',
    String(2 ** 24),
    '--quiet=all',
    '--signal=none',
    '-e',
    `trace=${TRACED}`,
    '-o',
    trace,
  ];
  await promisify(execFile)('strace', [...options, process.execPath, script, root], { timeout: 120_000 });
  return readCalls(await readFile(trace, 'latin1'));
}
