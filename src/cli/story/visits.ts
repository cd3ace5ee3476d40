import type { Clock } from '../../kit/clock.ts';
import { withDeadline } from '../../kit/deadline.ts';
import { runTask, type TaskResult } from './task.ts';

const VOLUME = 'webapp';
const TASK_TIMEOUT_MS = 100_000;
/** Counts the visits of a web application; what it prints is the data that have to come along. */
const VISIT =
  'echo "visit $(($(cat /mnt/visits 2>/dev/null | wc -l) + 1)) on $NODE" >> /mnt/visits; sync; cat /mnt/visits';
/** Goes on for as long as it can write. */
const STAY = 'while echo here > /mnt/beat && sync /mnt/beat; do sleep 0.2; done; exit 70';

export interface VisitsOptions {
  readonly clock: Clock;
  /** Program and arguments that run `flocker`. */
  readonly flocker: readonly [string, ...string[]];
  readonly clusterJsonPath: string;
  /** Ends the tasks. */
  readonly signal: AbortSignal;
}

/** Tasks of a web application with one volume, which are run on nodes counted from 1. Each finds the visits before it, or throws. */
export class Visits {
  readonly #options: VisitsOptions;
  readonly #expected: string[] = [];

  constructor(options: VisitsOptions) {
    this.#options = options;
  }

  /** One visit on a node; resolves with what its task found and wrote, for people. */
  async visit(node: number): Promise<string> {
    const { status, stdout, stderr } = await this.#run(node, VISIT);
    if (status !== 0) throw new Error(`The task on node ${node} ended with status ${status}: ${stderr.trim()}`);
    return this.#check(node, stdout);
  }

  /** One visit of a task that stays. Resolves when it has written, with what it found, and how it ends later. */
  async stay(node: number): Promise<{ readonly found: string; readonly ends: Promise<TaskResult> }> {
    let ends: Promise<TaskResult> | undefined;
    const written = new Promise<string>((resolve, reject) => {
      ends = this.#run(node, `${VISIT}; echo; ${STAY}`, (stdout) => {
        if (stdout.includes('\n\n')) resolve(stdout);
      });
      ends.then(
        ({ status, stderr }) => reject(new Error(`The task on node ${node} ended with ${status}: ${stderr.trim()}`)),
        reject,
      );
    });
    const found = this.#check(node, await written);
    if (ends === undefined) throw new Error('no task');
    return { found, ends };
  }

  #check(node: number, stdout: string): string {
    this.#expected.push(`visit ${this.#expected.length + 1} on node${node}`);
    const found = stdout.trim();
    if (found === this.#expected.join('\n')) return this.#expected.map((line) => `"${line}"`).join(', ');
    throw new Error(
      `The volume should hold ${JSON.stringify(this.#expected)} and holds ${JSON.stringify(found.split('\n'))}.`,
    );
  }

  #run(node: number, script: string, onOutput?: (stdout: string) => void): Promise<TaskResult> {
    const { clock, clusterJsonPath, flocker, signal } = this.#options;
    const command = [
      ...['run', '--cluster', clusterJsonPath, '--node', String(node), '--volume', `${VOLUME}:/mnt,size=1GiB`],
      ...['--', 'env', `NODE=node${node}`, 'sh', '-c', script],
    ];
    const [program, ...before] = flocker;
    return withDeadline(clock, TASK_TIMEOUT_MS, `the task on node ${node}`, signal, (until) =>
      runTask([program, ...before, ...command], until, onOutput),
    );
  }
}
