import { join } from 'node:path';
import type { Clock } from '../kit/clock.ts';
import { withDeadline } from '../kit/deadline.ts';
import { runTask } from './task.ts';
import type { RunningCluster } from './up/start-cluster.ts';

/** A step of the story and how long it took, milliseconds. */
export interface StoryStep {
  readonly name: string;
  readonly ms: number;
}

/** Where the story tells what happens. */
export interface StoryTeller {
  began(title: string): void;
  ended(step: StoryStep, detail: string): void;
}

export interface StoryOptions {
  readonly clock: Clock;
  readonly teller: StoryTeller;
  /** Program and arguments that run `flocker`. */
  readonly flocker: readonly [string, ...string[]];
  /** Starts the cluster; part of the story as it takes its time too. */
  readonly start: () => Promise<RunningCluster>;
  /** Told as soon as the cluster runs, so that whoever asked can stop it also when the story fails. */
  readonly onCluster: (cluster: RunningCluster) => void;
  readonly signal: AbortSignal;
}

const VOLUME = 'webapp';
const TASK_TIMEOUT_MS = 60_000;
/** Counts the visits of a web application; what it prints is the data that have to come along. */
const VISIT =
  'echo "visit $(($(cat /mnt/visits 2>/dev/null | wc -l) + 1)) on $NODE" >> /mnt/visits; sync; cat /mnt/visits';

/** Runs a task on one node, ends it, and runs it on another: its data come along. Throws at the first step that does not hold. */
export async function tellStory(options: StoryOptions): Promise<void> {
  const { clock, teller } = options;
  const step = async <T>(
    name: string,
    title: string,
    work: () => Promise<{ value: T; detail: string }>,
  ): Promise<T> => {
    teller.began(title);
    const startedMs = clock.monotonicMs();
    const { value, detail } = await work();
    const ended = { name, ms: Math.round((clock.monotonicMs() - startedMs) * 10) / 10 };
    teller.ended(ended, detail);
    return value;
  };

  const cluster = await step('cluster', 'Start a control service and two nodes', async () => {
    const value = await options.start();
    options.onCluster(value);
    return { value, detail: value.json.control.url };
  });
  const visit = async (node: number): Promise<string[]> => {
    const command = [
      ...options.flocker.slice(1),
      'run',
      '--cluster',
      cluster.clusterJsonPath,
      '--node',
      String(node),
      '--volume',
      `${VOLUME}:/mnt,size=1GiB`,
      '--',
      'env',
      `NODE=node${node}`,
      'sh',
      '-c',
      VISIT,
    ];
    const { status, stdout, stderr } = await withDeadline(
      clock,
      TASK_TIMEOUT_MS,
      `the task on node ${node}`,
      options.signal,
      (signal) => runTask([options.flocker[0], ...command], signal),
    );
    if (status !== 0) throw new Error(`The task on node ${node} ended with status ${status}: ${stderr.trim()}`);
    return stdout.trim().split('\n');
  };
  const expectVisits = (found: readonly string[], expected: readonly string[]): string => {
    if (found.join('\n') === expected.join('\n')) return found.map((line) => `"${line}"`).join(', ');
    throw new Error(`The volume should hold ${JSON.stringify(expected)} and holds ${JSON.stringify(found)}.`);
  };

  const first = 'visit 1 on node1';
  await step('first_task', `Run a task on node 1 with the new volume "${VOLUME}"`, async () => {
    const found = await visit(1);
    return { value: found, detail: `it wrote ${expectVisits(found, [first])}` };
  });
  await step('moved_task', 'It ended; run it again on node 2: the volume moves there first', async () => {
    const found = await visit(2);
    return { value: found, detail: `it found and added to ${expectVisits(found, [first, 'visit 2 on node2'])}` };
  });
  await step('local_task', 'Once more on node 2: the volume is already there', async () => {
    const found = await visit(2);
    const detail = expectVisits(found, [first, 'visit 2 on node2', 'visit 3 on node2']);
    return { value: found, detail: `it holds ${detail}` };
  });
}

/** Where things are, for people. */
export function whereThingsAre(cluster: RunningCluster): string {
  const { json } = cluster;
  const rows: [string, string][] = [
    ['REST API', [json.control.url, ...(json.control.other_urls ?? [])].map((url) => `${url}/v1/`).join(' or ')],
    ['certificate', `${json.tls.cert} (key beside it, authority ${json.tls.ca})`],
    ...json.nodes.map((node, index): [string, string] => [
      `node ${index + 1}`,
      `${node.host}, mounts at ${node.mount_root}`,
    ]),
    ['volumes', join(cluster.volumesPath, '')],
    ['logs', cluster.logsPath],
    ['all of it', cluster.clusterJsonPath],
  ];
  const width = Math.max(...rows.map(([label]) => label.length));
  return rows.map(([label, text]) => `  ${label.padEnd(width)}  ${text}`).join('\n');
}
