#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { decide, INITIAL, type Job, type Placement } from './placement.ts';
import { subscribe } from './scheduler.ts';
import { parseWish } from './wish.ts';

const HELP = `node main.js --master http://HOST:5050 [options] WISH... -- COMMAND

Runs a command as a task with a disk that fulfils the wishes, and starts it again where its data are when it fails.
The data are in "data" below the task's directory.

  WISH              size=10GiB, profile=gold, media=ssd, compression=zstd, replication>=2, …
  --name NAME       of the task and of its volume (placed)
  --role ROLE       the role whose offers are used (storage)
  --cpus N          (0.1)      --mem MIB  (256)
  --look-for SEC    time to look for the volume of an earlier run before a new disk is made (5)
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    master: { type: 'string' },
    name: { type: 'string', default: 'placed' },
    role: { type: 'string', default: 'storage' },
    cpus: { type: 'string', default: '0.1' },
    mem: { type: 'string', default: '256' },
    'look-for': { type: 'string', default: '5' },
    help: { type: 'boolean', default: false },
  },
});

const say = (line: string): void => void process.stdout.write(`${line}\n`);

if (values.help || values.master === undefined) {
  say(HELP);
  process.exitCode = values.help ? 0 : 2;
} else {
  try {
    process.exitCode = await run(values.master);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}

async function run(master: string): Promise<number> {
  // What stands behind `--` is the command; node's parser does not tell where it was.
  const dashes = process.argv.indexOf('--');
  const command = dashes < 0 ? [] : process.argv.slice(dashes + 1);
  const { name, role } = values;
  const job: Job = {
    ...{ name, role, cpus: Number(values.cpus), memMib: Number(values.mem) },
    wish: parseWish(positionals.slice(0, positionals.length - command.length)),
    command: command.join(' '),
  };
  if (job.command === '') throw new Error('what is to be run? Give the command after --');
  const scheduler = await subscribe(master, {
    user: process.env['USER'] ?? 'root',
    name: `placement ${name}`,
    roles: [role],
    capabilities: [{ type: 'MULTI_ROLE' }, { type: 'RESERVATION_REFINEMENT' }],
  });
  say(`framework ${scheduler.frameworkId}`);
  let placement: Placement = INITIAL;
  const take = async (event: Parameters<typeof decide>[1]): Promise<void> => {
    const step = decide(placement, event, job);
    ({ placement } = step);
    for (const line of step.lines) say(line);
    for (const call of step.calls) await scheduler.call(call);
  };
  const timer = setTimeout(() => void take({ type: 'LOOKED' }), Number(values['look-for']) * 1000);
  for await (const event of scheduler.events) {
    await take(event);
    if (placement.phase === 'done') break;
  }
  clearTimeout(timer);
  scheduler.close();
  return placement.phase === 'done' ? 0 : 1;
}
