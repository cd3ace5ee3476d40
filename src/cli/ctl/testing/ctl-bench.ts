import type { Command } from 'commander';
import { type FakeFlocker, fakeFlocker } from '../../../client/testing/fake-flocker.ts';
import { type Clock, systemClock } from '../../../kit/clock.ts';
import { type DatasetId, type NodeId, parseDatasetId, parseNodeId } from '../../../kit/ids.ts';
import type { ControlTarget } from '../control-target.ts';
import { ctlCommand } from '../ctl-command.ts';
import type { CtlClient } from '../ctl-environment.ts';

/** How a command ended. */
export interface Ran {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

export interface BenchOptions {
  readonly additions?: boolean;
  readonly clock?: Clock;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs commands of `flockerctl` against a cluster in memory. */
export class CtlBench {
  readonly flocker: FakeFlocker;
  readonly clock: Clock;
  readonly targets: ControlTarget[] = [];
  /** Replaces methods of the client. */
  faults: Partial<CtlClient> = {};
  closed = 0;
  /** Standard output and standard error are a terminal of this width. */
  terminalColumns: number | undefined;
  readonly #options: BenchOptions;

  constructor(options: BenchOptions = {}) {
    this.#options = options;
    this.clock = options.clock ?? systemClock;
    this.flocker = fakeFlocker({ clock: this.clock, additions: options.additions ?? true });
  }

  /** Runs with `--control-service` given. */
  run(...args: readonly string[]): Promise<Ran> {
    return this.runBare('--control-service', '192.0.2.9', ...args);
  }

  async runBare(...args: readonly string[]): Promise<Ran> {
    const ran = { stdout: '', stderr: '', exitCode: 0 };
    const terminal = this.terminalColumns === undefined ? {} : { isTTY: true, columns: this.terminalColumns };
    const client = { ...this.flocker.client, ...this.faults };
    const program = ctlCommand({
      cwd: this.#options.cwd ?? '/nonexistent',
      env: this.#options.env ?? {},
      stdout: { ...terminal, write: (text) => (ran.stdout += text) },
      stderr: { ...terminal, write: (text) => (ran.stderr += text) },
      clock: this.clock,
      version: '1.2.3',
      setExitCode: (code) => (ran.exitCode = code),
      openPassage: () => Promise.reject(new Error('no passage')),
      interrupted: () => Promise.resolve(),
      connect: (target) => {
        this.targets.push(target);
        return Promise.resolve({
          ...client,
          close: () => {
            this.closed += 1;
            return Promise.resolve();
          },
        });
      },
    });
    for (const one of allOf(program)) one.exitOverride();
    await program.parseAsync(args, { from: 'user' }).catch((error: { exitCode?: number }) => {
      ran.exitCode = error.exitCode ?? -1;
    });
    return ran;
  }

  /** A dataset that was asked for; mounted, once the fake has done its steps. */
  async make(
    primary: NodeId,
    more: { id?: DatasetId; size?: number; metadata?: Readonly<Record<string, string>> } = {},
  ): Promise<DatasetId> {
    const made = await this.flocker.client.createDataset(
      {
        primary,
        metadata: more.metadata ?? {},
        ...(more.id === undefined ? {} : { datasetId: more.id }),
        ...(more.size === undefined ? {} : { maximumSizeBytes: more.size }),
      },
      { kind: 'none' },
      AbortSignal.timeout(10_000),
    );
    return datasetId(made.dataset_id);
  }

  async mounted(...args: Parameters<CtlBench['make']>): Promise<DatasetId> {
    const id = await this.make(...args);
    await this.flocker.client.waitUntilMounted(id, args[0], () => undefined, AbortSignal.timeout(10_000));
    return id;
  }
}

function allOf(command: Command): Command[] {
  return [command, ...command.commands.flatMap(allOf)];
}

export function datasetId(text: string): DatasetId {
  const id = parseDatasetId(text);
  if (id === undefined) throw new Error(`no dataset id: ${text}`);
  return id;
}

export function nodeId(text: string): NodeId {
  const id = parseNodeId(text);
  if (id === undefined) throw new Error(`no node id: ${text}`);
  return id;
}
