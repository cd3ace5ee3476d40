import { decide } from '../../../src/frontends/resource-provider/decide.ts';
import { datasetBytesOf, milliOfMib } from '../../../src/frontends/resource-provider/disk-quantity.ts';
import { parseAgentMessage } from '../../../src/frontends/resource-provider/mesos-messages.ts';
import { toldTotals } from '../../../src/frontends/resource-provider/pending-operations.ts';
import { emptyRecord, type ProviderRecord } from '../../../src/frontends/resource-provider/provider-record.ts';
import {
  initialState,
  type OfferSettings,
  type ProviderAction,
  type ProviderEvent,
  type ProviderState,
  type Work,
  type WorkOutcome,
} from '../../../src/frontends/resource-provider/provider-state.ts';
import {
  identity,
  isExclusive,
  type MesosOperationInfo,
  type MesosResource,
  milli,
  speculation,
} from './mesos-resources.ts';
import { ProviderManagerModel } from './provider-manager-model.ts';

const GIB = 2 ** 30;
const TOTAL_BYTES = 64 * GIB;

/** Picks among things; every choice comes from the test's seed. */
export type Choose = (count: number) => number;

interface Process {
  state: ProviderState;
  /** What is still to be done: a record to be written, or an action after it. */
  readonly queue: (
    | { readonly save: ProviderRecord }
    | { readonly action: ProviderAction; readonly streamId: string | undefined }
  )[];
  readonly work: Map<string, Work>;
  readonly doomed: Set<string>;
}

/**
 * A provider, the agent and master, and a storage pool that others use too, in one process and without time passing by
 * itself. Messages and writes wait until they are let through, so that a crash can come between any two.
 */
export class ProviderWorld {
  readonly model: ProviderManagerModel;
  readonly datasets = new Map<string, number>();
  readonly #settings: OfferSettings;
  #process: Process | undefined;
  #disk = JSON.stringify(emptyRecord('io.flocker.rp', 'world'));
  #inbox: object[] = [];
  #outbox: { readonly streamId: string; readonly body: object }[] = [];
  #connectedStream: string | undefined;
  #nowMs = 1_000_000;
  #uuids = 0;
  #persistences = 0;
  #others = 0;
  #agents = 1;

  constructor(settings: OfferSettings) {
    this.#settings = settings;
    this.model = new ProviderManagerModel({
      agentId: 'agent-1',
      newUuid: () => this.#newUuid(),
      nowMs: () => this.#nowMs,
    });
  }

  get record(): ProviderRecord {
    return this.#process?.state.record ?? (JSON.parse(this.#disk) as ProviderRecord);
  }

  get #freeBytes(): number {
    return Math.max(0, TOTAL_BYTES - [...this.datasets.values()].reduce((sum, size) => sum + size, 0) - this.#others);
  }

  start(): void {
    if (this.#process !== undefined) return;
    const state = initialState(JSON.parse(this.#disk) as ProviderRecord);
    this.#process = { state, queue: [], work: new Map(), doomed: new Set() };
    this.#dispatch({ kind: 'started' });
  }

  /** kill -9: what was not written is gone, what was under way stops, the connection breaks. */
  crash(): void {
    this.#process = undefined;
    this.breakStream();
  }

  breakStream(): void {
    if (this.#connectedStream === undefined) return;
    this.#connectedStream = undefined;
    this.#inbox = [];
    this.#outbox = [];
    this.model.disconnect();
    if (this.#process !== undefined) this.#dispatch({ kind: 'lost' });
  }

  wait(ms: number): void {
    this.#nowMs += ms;
  }

  connect(): void {
    const process = this.#process;
    if (process === undefined || this.#connectedStream !== undefined || process.queue.length > 0) return;
    this.wait(2_000);
    const { providerId, agentId, type, name } = process.state.record;
    const id = providerId === null ? {} : { id: { value: providerId } };
    const answer = this.model.subscribe({
      type: 'SUBSCRIBE',
      subscribe: { resource_provider_info: { type, name, ...id } },
    });
    if ('status' in answer) throw new Error(answer.text);
    if (answer.providerId === undefined) {
      if (agentId !== this.model.agentId) this.#dispatch({ kind: 'identityLost' });
      return;
    }
    this.#connectedStream = answer.streamId;
    this.#dispatch({ kind: 'subscribed', providerId: answer.providerId, agentId: this.model.agentId });
  }

  comeBack(): void {
    this.start();
    this.connect();
  }

  publishOrReconcile(choose: Choose): void {
    if (choose(2) === 0) this.publish();
    else this.reconcile();
  }

  /** Time passes; now and then the agent loses what it knew. */
  rest(choose: Choose): void {
    if (choose(4) === 0) this.agentBecomesAnother();
    else this.wait(60_000);
  }

  /** The next write or action of the provider; whether there was one. */
  progress(): boolean {
    const next = this.#process?.queue.shift();
    if (next === undefined) return false;
    if ('save' in next) this.#disk = JSON.stringify(next.save);
    else this.#act(next.action, next.streamId);
    return true;
  }

  /** The provider reads its next event; whether there was one. */
  hear(): boolean {
    const event = this.#process === undefined ? undefined : this.#inbox.shift();
    if (event === undefined) return false;
    const message = parseAgentMessage(JSON.stringify(event));
    if (message.kind !== 'subscribed') this.#dispatch({ kind: 'message', message });
    return true;
  }

  /** The agent takes in the provider's next call; whether there was one. */
  receive(): boolean {
    const next = this.#outbox.shift();
    if (next === undefined) return false;
    const reply = this.model.call(next.streamId, next.body);
    if (reply.status !== 202)
      throw new Error(`${JSON.stringify(next.body)} was answered ${reply.status} ${reply.text}`);
    return true;
  }

  /** One piece of work ends; whether there was one. */
  finishWork(choose: Choose, mayFail: boolean): boolean {
    const process = this.#process;
    const running = [...(process?.work ?? [])];
    const chosen = running[choose(Math.max(1, running.length))];
    if (process === undefined || chosen === undefined) return false;
    const [operation, work] = chosen;
    process.work.delete(operation);
    this.#dispatch({ kind: 'worked', operation, outcome: this.#perform(work, mayFail && choose(5) === 0) });
    this.#deleteDoomed(process);
    return true;
  }

  /** Work of a process that dies in the middle: done, and nobody hears of it. */
  finishUnheard(choose: Choose): void {
    const running = [...(this.#process?.work.values() ?? [])];
    const work = running[choose(Math.max(1, running.length))];
    if (work !== undefined) this.#perform(work, false);
  }

  look(): void {
    const process = this.#process;
    if (process === undefined) return;
    const { diskEpoch } = process.state;
    this.#dispatch({
      kind: 'looked',
      look: {
        profiles: [
          { profile: 'gold', labels: [{ key: 'media', value: 'ssd' }] },
          { profile: 'silver', labels: [{ key: 'media', value: 'hdd' }] },
        ],
        freeBytes: this.#freeBytes,
        totalBytes: TOTAL_BYTES,
        datasets: [...this.datasets].map(([id, sizeBytes]) => ({
          ...{ id, name: id, profile: null, sizeBytes, idleHere: false },
        })),
        diskEpoch,
        atMs: this.#nowMs,
      },
    });
  }

  othersTake(bytes: number): void {
    this.#others = bytes;
  }

  retry(choose: Choose): void {
    const waiting = this.record.operations.filter(({ status }) => status !== null);
    const chosen = waiting[choose(Math.max(1, waiting.length))];
    if (chosen !== undefined && this.#process !== undefined) this.#dispatch({ kind: 'retry', operation: chosen.uuid });
  }

  acknowledge(choose: Choose): boolean {
    const ended = [...(this.model.entry?.operations.values() ?? [])].filter(({ status }) => status?.uuid !== undefined);
    const chosen = ended[choose(Math.max(1, ended.length))];
    const event = chosen === undefined ? undefined : this.model.acknowledge(chosen.uuid);
    if (event === undefined) return false;
    this.#inbox.push(event);
    return true;
  }

  reconcile(): void {
    if (this.model.entry === undefined) return;
    const uuid = Buffer.from(this.#newUuid().replaceAll('-', ''), 'hex').toString('base64');
    this.#inbox.push({ type: 'RECONCILE_OPERATIONS', reconcile_operations: { operation_uuids: [{ value: uuid }] } });
  }

  publish(): void {
    const disks = (this.model.entry?.totals ?? []).filter(({ disk }) => disk?.persistence !== undefined);
    if (disks.length > 0) this.#inbox.push(this.model.publish(disks).event);
  }

  agentBecomesAnother(): void {
    this.breakStream();
    this.#agents += 1;
    this.model.becomeAnother(`agent-${this.#agents}`);
  }

  /** A framework does something with what it may be offered. */
  operate(choose: Choose): void {
    const { entry } = this.model;
    if (entry === undefined) return;
    const used = [...entry.operations.values()].flatMap(({ info, status }) =>
      status === undefined && speculation(info).converted === undefined ? speculation(info).consumed : [],
    );
    const offered = entry.totals.flatMap((resource) => {
      const taken = used.filter(
        (one) => identity({ ...one, allocation_info: {} }) === identity({ ...resource, allocation_info: {} }),
      );
      const left = milli(resource) - taken.reduce((sum, one) => sum + milli(one), 0);
      return left > 0 ? [{ ...resource, scalar: { value: left / 1000 } }] : [];
    });
    const chosen = offered[choose(Math.max(1, offered.length))];
    if (chosen === undefined) return;
    const info = this.#wish(chosen, choose);
    this.#inbox.push(this.model.apply(info, choose(4) === 0 ? undefined : 'framework'));
  }

  /** Lets everything come to its end, with nothing going wrong any more. */
  settle(): void {
    this.start();
    for (let round = 0; round < 2_000; round += 1) {
      const busy =
        this.progress() ||
        this.receive() ||
        this.hear() ||
        this.finishWork(() => 0, false) ||
        this.acknowledge(() => 0);
      if (busy) continue;
      if (this.#connectedStream === undefined) this.connect();
      else if (this.model.entry === undefined) this.look();
      else if (this.record.operations.length > 0) this.retry(() => 0);
      else return;
    }
    throw new Error('it does not come to rest');
  }

  /** What has to hold when everything has come to rest. */
  faults(): string[] {
    const { entry } = this.model;
    const told = quantities(entry?.totals ?? []);
    const known = quantities(toldTotals(this.record));
    const disks = this.record.totals.filter((one) => isExclusive(one));
    const faults: string[] = [];
    if (told !== known) faults.push(`Mesos has ${told}, and the provider ${known}`);
    for (const disk of disks) {
      const id = disk.disk?.source?.id ?? '';
      const sizeBytes = datasetBytesOf(milliOfMib(disk.scalar?.value ?? 0));
      if (this.datasets.get(id) !== sizeBytes) faults.push(`disk ${id} of ${sizeBytes} has ${this.datasets.get(id)}`);
    }
    const ids = new Set(disks.map(({ disk }) => disk?.source?.id));
    for (const id of this.datasets.keys()) if (!ids.has(id)) faults.push(`volume ${id} is nobody's disk`);
    if (this.model.doubtful) faults.push('totals of Mesos were not corrected');
    return faults;
  }

  /** Disks that frameworks made and did not destroy, as the master has heard. */
  disksOfFrameworks(): Set<string> {
    const disks = new Set<string>();
    for (const { info, status } of this.model.sent.values()) {
      if (status?.state !== 'OPERATION_FINISHED') continue;
      const made = status.converted_resources?.[0]?.disk?.source?.id;
      if (info.type === 'CREATE_DISK' && made !== undefined) disks.add(made);
    }
    for (const { info, status } of this.model.sent.values()) {
      if (info.type === 'DESTROY_DISK' && (status === undefined || status.state === 'OPERATION_FINISHED'))
        disks.delete(info.destroy_disk?.source.disk?.source?.id ?? '');
    }
    return disks;
  }

  #wish(chosen: MesosResource, choose: Choose): MesosOperationInfo {
    const id = { id: { value: `op-${this.#uuids}` } };
    const allocated = (resource: MesosResource): MesosResource => ({
      ...resource,
      allocation_info: { role: 'storage' },
    });
    const source = chosen.disk?.source;
    const reserved = (chosen.reservations ?? []).length > 0;
    const most = milli(chosen);
    const part = isExclusive(chosen)
      ? most
      : Math.min(most, 1 + choose(2) * 63_999 + choose(6) * 1_000_000 + choose(1000));
    const some = allocated({ ...chosen, scalar: { value: part / 1000 } });
    const reservation = { type: 'DYNAMIC', role: 'storage', principal: 'p' };
    if (!reserved)
      return { type: 'RESERVE', ...id, reserve: { resources: [{ ...some, reservations: [reservation] }] } };
    if (source?.type === 'RAW') {
      if (choose(3) === 0) return { type: 'UNRESERVE', ...id, unreserve: { resources: [some] } };
      if (isExclusive(chosen) && choose(2) === 0)
        return { type: 'DESTROY_DISK', ...id, destroy_disk: { source: some } };
      const profile = isExclusive(chosen) ? { target_profile: choose(3) === 0 ? 'silver' : 'gold' } : {};
      const target = choose(8) === 0 ? 'BLOCK' : 'MOUNT';
      return { type: 'CREATE_DISK', ...id, create_disk: { source: some, target_type: target, ...profile } };
    }
    if (chosen.disk?.persistence !== undefined) return { type: 'DESTROY', ...id, destroy: { volumes: [some] } };
    if (choose(2) === 0) return { type: 'DESTROY_DISK', ...id, destroy_disk: { source: some } };
    this.#persistences += 1;
    const disk = {
      ...some.disk,
      persistence: { id: `pv-${this.#persistences}` },
      volume: { mode: 'RW', container_path: 'data' },
    };
    return { type: 'CREATE', ...id, create: { volumes: [{ ...some, disk }] } };
  }

  #perform(work: Work, fails: boolean): WorkOutcome {
    switch (work.kind) {
      case 'make': {
        if (fails) return { ok: false, message: 'it failed', doubtful: true };
        if (!this.datasets.has(work.datasetId) && this.#freeBytes < work.sizeBytes)
          return { ok: false, message: 'no room', full: true, doubtful: true };
        this.datasets.set(work.datasetId, work.sizeBytes);
        return { ok: true };
      }
      case 'adopt':
        return this.datasets.has(work.datasetId) ? { ok: true } : { ok: false, message: 'it is gone' };
      case 'wipe':
        return fails ? { ok: false, message: 'it failed' } : { ok: true };
      case 'destroy':
        if (fails && this.datasets.has(work.disk.id)) return { ok: false, message: 'it is in use' };
        this.datasets.delete(work.disk.id);
        return { ok: true };
      default:
        return work satisfies never;
    }
  }

  #dispatch(event: ProviderEvent): void {
    const process = this.#process;
    if (process === undefined) return;
    const before = process.state.record;
    const { state, actions } = decide(process.state, event, {
      settings: this.#settings,
      newUuid: () => this.#newUuid(),
    });
    process.state = state;
    if (state.record !== before) process.queue.push({ save: structuredClone(state.record) });
    for (const action of actions) {
      if (action.kind === 'publish' || event.kind === 'published') this.#act(action, this.#connectedStream);
      else process.queue.push({ action, streamId: this.#connectedStream });
    }
  }

  #act(action: ProviderAction, streamId: string | undefined): void {
    const process = this.#process;
    if (process === undefined) return;
    if (action.kind === 'send' && streamId !== undefined && streamId === this.#connectedStream) {
      const id = { value: process.state.record.providerId ?? '' };
      this.#outbox.push({ streamId, body: structuredClone({ ...action.call, resource_provider_id: id }) });
    } else if (action.kind === 'work') {
      process.work.set(action.operation, action.work);
    } else if (action.kind === 'publish') {
      this.#dispatch({ kind: 'published', publish: action.publish, ok: true });
    } else if (action.kind === 'doom') {
      process.doomed.add(action.datasetId);
      this.#deleteDoomed(process);
    }
  }

  /** A volume that is still being made is deleted after that. */
  #deleteDoomed(process: Process): void {
    const making = new Set([...process.work.values()].map((work) => (work.kind === 'make' ? work.datasetId : '')));
    for (const datasetId of [...process.doomed].filter((id) => !making.has(id))) {
      process.doomed.delete(datasetId);
      this.datasets.delete(datasetId);
      this.#dispatch({ kind: 'doomedGone', datasetId });
    }
  }

  #newUuid(): string {
    this.#uuids += 1;
    return `00000000-0000-4000-8000-${this.#uuids.toString(16).padStart(12, '0')}`;
  }
}

function quantities(resources: readonly MesosResource[]): string {
  return JSON.stringify(resources.map((resource) => `${identity(resource)} ${milli(resource)}`).sort());
}
