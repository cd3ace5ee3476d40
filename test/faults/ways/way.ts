import { setTimeout as pause } from 'node:timers/promises';
import { errorText } from '../../../src/kit/coded-error.ts';
import type { Command, FaultNode } from '../fault-cluster.ts';
import type { History } from '../history.ts';
import { startTask, type Task } from '../task.ts';

/** How tasks come to their volumes. What stands for an orchestrator remembers what it has to undo, and repeats what failed. */
export interface Way {
  /** A task on a node that is to have a volume. */
  user(node: FaultNode, volume: string): VolumeUser;
  /** The node's agent was started anew. */
  agentStarted?(node: FaultNode): void;
}

/** One task's use of a volume. */
export interface VolumeUser {
  /** One try to get the volume; is repeated when it fails. */
  take(): Promise<void>;
  /** The command line of the task, once it has the volume. */
  command(forMs: number): Command;
  /** One try to give back whatever was taken, also by tries that failed; is repeated until it succeeds. */
  leave(): Promise<void>;
}

export interface Play {
  readonly node: FaultNode;
  readonly volume: string;
  /** How long the task writes. */
  readonly forMs: number;
  readonly patienceMs: number;
  /** For people. */
  readonly name: string;
}

/** What came of a task: the dataset it got, if any, its exit status or 125 when it never ran, and its last words. */
export type Outcome = Awaited<Task['ended']>;

const AGAIN_MS = 400;
/** Longer than anything is broken. */
const LEAVES_MS = 300_000;

/** Plays one task from its first call to the last; resolves when nothing is left to do. */
export async function play(
  way: Way,
  { node, volume, forMs, patienceMs, name }: Play,
  history: History,
  runs: (task: Task) => void = () => undefined,
): Promise<Outcome> {
  const { machine } = node;
  const user = way.user(node, volume);
  try {
    await repeat(() => user.take(), patienceMs);
    const { boots } = machine;
    if (!machine.on) throw new Error('its machine went off');
    const task = startTask(user.command(forMs), name, history);
    runs(task);
    const outcome = await task.ended;
    if (outcome.said.includes('no dataset in') && machine.on && machine.boots === boots)
      history.violated(`${name}: it was told that it has the volume, and found none: ${outcome.said}`);
    return outcome;
  } catch (error) {
    const said = errorText(error);
    history.taskFailed(said);
    return { dataset: undefined, status: 125, said };
  } finally {
    await repeat(() => user.leave(), LEAVES_MS).catch((error: unknown) => {
      history.violated(`${name}: what it had cannot be given back: ${errorText(error)}`);
    });
  }
}

/** Until it succeeds; after `patienceMs` with the error of the last try. */
async function repeat(work: () => Promise<void>, patienceMs: number): Promise<void> {
  const untilMs = performance.now() + patienceMs;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (performance.now() > untilMs) throw error;
      await pause(AGAIN_MS);
    }
  }
}
