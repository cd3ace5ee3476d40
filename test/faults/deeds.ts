import { setTimeout as pause } from 'node:timers/promises';
import type { DatasetConfiguration } from '../../src/api/datasets.ts';
import { errorCode } from '../../src/kit/coded-error.ts';
import { parseDatasetId, parseSnapshotId } from '../../src/kit/ids.ts';
import type { FaultCluster, FaultNode } from './fault-cluster.ts';
import type { History } from './history.ts';
import { type Running, signal } from './program.ts';
import type { Deed, Steps } from './schedule.ts';
import type { Task } from './task.ts';
import { play } from './ways/way.ts';
import type { Ways } from './ways/ways.ts';

const ANSWER_MS = 8_000;
const TASK_WAITS_MS = 40_000;
const STEP_WAITS_MS = 15_000;
const GROWTH_BYTES = 16 * 2 ** 20;
const LARGEST_BYTES = 128 * 2 ** 20;

type TaskDeed = Extract<Deed, { kind: 'task' }>;

/** Does to a cluster what the schedule says, and tells the history what came of it. */
export class Deeds {
  readonly #cluster: FaultCluster;
  readonly #history: History;
  readonly #ways: Ways;
  readonly #tasks = new Map<Task, number>();
  readonly #snapshots: string[] = [];
  /** What is broken now, so that two deeds do not mend each other's fault. */
  readonly #broken = new Set<string>();

  constructor(cluster: FaultCluster, history: History, ways: Ways) {
    this.#cluster = cluster;
    this.#history = history;
    this.#ways = ways;
  }

  /** Resolves when the deed is over and what it broke is whole. */
  async do(deed: Deed): Promise<void> {
    const cluster = this.#cluster;
    switch (deed.kind) {
      case 'task':
        return this.#task(deed);
      case 'killTask':
        return this.#killTask(deed.node);
      case 'move':
        return this.#move(deed.volume, this.#node(deed.node));
      case 'grow':
        return this.#grow(deed.volume);
      case 'delete':
        return this.#delete(deed.volume);
      case 'snapshot':
        return this.#snapshot(deed.volume);
      case 'deleteSnapshot':
        return this.#deleteSnapshot();
      case 'killAgent':
        return this.#alone(`agent ${deed.node}`, () => this.#killAgent(this.#node(deed.node), deed.forMs));
      case 'killControl':
        return this.#alone('control', async () => {
          await this.#killControl();
          await pause(deed.forMs);
          await cluster.startControl();
        });
      case 'agentAtStep':
        return this.#alone(`agent ${deed.node}`, () =>
          this.#agentAtStep(this.#node(deed.node), deed.steps, deed.forMs),
        );
      case 'controlAtStep':
        return this.#alone('control', () => this.#controlAtStep(deed.steps, deed.forMs));
      case 'stopAgent':
        return this.#alone(`agent ${deed.node}`, () => halt(this.#node(deed.node).agent?.pid, deed.forMs));
      case 'stopControl':
        return this.#alone('control', () => halt(cluster.control?.pid, deed.forMs));
      case 'cut':
        return this.#alone(`cable ${deed.node}`, async () => {
          const { machine } = this.#node(deed.node);
          if (!machine.on) return;
          await machine.cut(deed.way);
          await pause(deed.forMs);
          await machine.heal();
        });
      case 'powerOff':
        return this.#alone(`agent ${deed.node}`, () =>
          this.#alone(`cable ${deed.node}`, () => this.#powerOff(this.#node(deed.node), deed.forMs, deed.declare)),
        );
      case 'fill':
        return this.#alone('pool', async () => {
          await cluster.fillPool();
          await pause(deed.forMs);
          await cluster.emptyPool();
        });
      case 'mkfs':
        return this.#alone('mkfs', async () => {
          await cluster.setMkfs(deed.mode);
          await pause(deed.forMs);
          await cluster.setMkfs('well');
        });
      case 'tearStore':
        return this.#alone('control', () => this.#tearStore());
    }
  }

  async #alone(what: string, work: () => Promise<void>): Promise<void> {
    if (this.#broken.has(what)) return;
    this.#broken.add(what);
    try {
      await work();
    } finally {
      this.#broken.delete(what);
    }
  }

  #node(number: number): FaultNode {
    const node = this.#cluster.nodes[number];
    if (node === undefined) throw new Error(`there is no node ${number}`);
    return node;
  }

  async #task({ node: number, volume, forMs, way }: TaskDeed): Promise<void> {
    const node = this.#node(number);
    if (!node.machine.on) return;
    const name = `task on node ${number} with ${volume} by ${way}`;
    const wish = { node, volume, forMs, patienceMs: TASK_WAITS_MS, name };
    const { status } = await play(this.#ways[way], wish, this.#history, (task) => {
      this.#tasks.set(task, number);
      void task.ended.finally(() => this.#tasks.delete(task));
    });
    this.#history.taskEnded(way, status === 0);
  }

  async #killTask(number: number): Promise<void> {
    [...this.#tasks].find(([, node]) => node === number)?.[0].kill();
  }

  async #find(volume: string): Promise<DatasetConfiguration | undefined> {
    const found = await asked((until) => this.#cluster.client.findByName(volume, until));
    return found?.datasets[0];
  }

  async #move(volume: string, node: FaultNode): Promise<void> {
    const id = parseDatasetId((await this.#find(volume))?.dataset_id ?? '');
    if (id === undefined) return;
    await asked((until) => this.#cluster.client.moveDataset(id, node.id, { kind: 'none' }, until));
  }

  async #grow(volume: string): Promise<void> {
    const found = await this.#find(volume);
    const id = parseDatasetId(found?.dataset_id ?? '');
    const bytes = (found?.maximum_size ?? LARGEST_BYTES) + GROWTH_BYTES;
    if (id === undefined || bytes > LARGEST_BYTES) return;
    await asked((until) => this.#cluster.client.resizeDataset(id, bytes, until));
  }

  async #delete(volume: string): Promise<void> {
    const id = parseDatasetId((await this.#find(volume))?.dataset_id ?? '');
    if (id === undefined) return;
    this.#history.askedToDelete(id);
    const deleted = await asked((until) => this.#cluster.client.deleteDataset(id, { kind: 'none' }, until));
    if (deleted !== undefined) this.#history.deleted(id);
  }

  async #snapshot(volume: string): Promise<void> {
    const datasetId = parseDatasetId((await this.#find(volume))?.dataset_id ?? '');
    if (datasetId === undefined) return;
    const made = await asked((until) => this.#cluster.client.createSnapshot({ datasetId, metadata: {} }, until));
    if (made === undefined) return;
    this.#snapshots.push(made.snapshot_id);
    this.#history.snapshotTaken(made.snapshot_id);
  }

  async #deleteSnapshot(): Promise<void> {
    const id = parseSnapshotId(this.#snapshots.shift() ?? '');
    if (id === undefined) return;
    this.#history.askedToDelete(id);
    await asked((until) => this.#cluster.client.deleteSnapshot(id, until));
  }

  async #killAgent(node: FaultNode, forMs: number, diesAt: Steps = []): Promise<void> {
    const { agent } = node;
    if (agent === undefined) return;
    signal(agent.pid, 'SIGKILL');
    await agent.ended;
    node.agent = undefined;
    await pause(forMs);
    await this.#startAgent(node, diesAt);
  }

  async #startAgent(node: FaultNode, diesAt: Steps = []): Promise<void> {
    await this.#cluster.startAgent(node, diesAt);
    for (const way of Object.values(this.#ways)) way.agentStarted?.(node);
  }

  /** Until the agent kills itself at one of the steps, or does not come to any for long. */
  async #agentAtStep(node: FaultNode, steps: Steps, forMs: number): Promise<void> {
    await this.#killAgent(node, 0, steps);
    await this.#death(node.agent);
    await this.#killAgent(node, forMs);
  }

  async #controlAtStep(steps: Steps, forMs: number): Promise<void> {
    await this.#killControl();
    await this.#death(await this.#cluster.startControl(steps));
    await this.#killControl();
    await pause(forMs);
    await this.#cluster.startControl();
  }

  async #death(daemon: Running | undefined): Promise<void> {
    const end = await Promise.race([daemon?.ended, pause(STEP_WAITS_MS)]);
    if (end !== undefined && end !== 'SIGKILL')
      this.#history.violated(`a daemon that was to die at a step ended with ${end}`);
  }

  async #killControl(): Promise<void> {
    const { control } = this.#cluster;
    if (control === undefined) return;
    signal(control.pid, 'SIGKILL');
    await control.ended;
    this.#cluster.control = undefined;
  }

  async #powerOff(node: FaultNode, forMs: number, declare: boolean): Promise<void> {
    await node.machine.powerOff();
    node.agent = undefined;
    if (declare) await this.#declareDead(node);
    await pause(forMs);
    await node.machine.boot();
    await this.#startAgent(node);
  }

  /** It is refused until the control service has noticed that the node is away. */
  async #declareDead(node: FaultNode): Promise<void> {
    for (let attempt = 0; attempt < 20; attempt += 1) {
      const declared = await asked((until) => this.#cluster.client.declareNodeDead(node.id, until));
      if (declared !== undefined) return;
      await pause(500);
    }
  }

  async #tearStore(): Promise<void> {
    await this.#killControl();
    const torn = await this.#cluster.startTorn();
    if (torn !== undefined && torn.exit !== 1)
      this.#history.violated(`a control service started on a store that was cut short (it ended with ${torn.exit})`);
    await this.#cluster.startControl();
  }
}

/** SIGSTOP, and SIGCONT a while later. */
async function halt(pid: number | undefined, forMs: number): Promise<void> {
  if (pid === undefined) return;
  signal(pid, 'SIGSTOP');
  await pause(forMs);
  signal(pid, 'SIGCONT');
}

/** What a request came to; undefined when it failed or nothing is known of what it did. */
async function asked<T>(request: (until: AbortSignal) => Promise<T>): Promise<T | undefined> {
  try {
    return await request(AbortSignal.timeout(ANSWER_MS));
  } catch (error) {
    if (error instanceof TypeError || errorCode(error) === 'unexpected_answer') throw error;
    return undefined;
  }
}
