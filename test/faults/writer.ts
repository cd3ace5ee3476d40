import { randomUUID } from 'node:crypto';
import { fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { FIRST, linkAfter, readChain } from './chain.ts';
import { datasetOf, mountsOf } from './mounts.ts';

/**
 * The task: says which dataset it got, what it finds in it, and then each record that it added, once that is on disk. Arguments: the
 * mount point, and how long to write in milliseconds (0: only look).
 */
const [mountPoint = '', forMs = '0'] = process.argv.slice(2);
const untilMs = performance.now() + Number(forMs);
const writer = randomUUID().slice(0, 8);

function say(kind: string, text: string): void {
  writeSync(1, `${kind} ${text}\n`);
}

const mount = mountsOf('self').findLast(({ point }) => point === mountPoint);
const dataset = mount === undefined ? undefined : datasetOf(mount);
if (dataset === undefined) throw new Error(`no dataset in ${mountPoint}`);
say('dataset', dataset);
const file = openSync(`${mountPoint}/records`, 'a+');
const { links, wholeLength } = readChain(readFileSync(file, 'utf8'));
ftruncateSync(file, wholeLength);
for (const { number, sum } of links) say('found', `${number} ${sum}`);
say('read', String(links.length));
let last = links.at(-1) ?? FIRST;
while (performance.now() < untilMs) {
  const next = linkAfter(last, writer);
  writeSync(file, `${next.line}\n`);
  fsyncSync(file);
  say('wrote', `${next.number} ${next.sum}`);
  last = next;
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
}
