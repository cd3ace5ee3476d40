import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { applyConversion, type MesosOperationInfo, type MesosResource, speculation } from './mesos/mesos-resources.ts';

interface TaskInfo {
  readonly name: string;
  readonly task_id: { readonly value: string };
  readonly agent_id: { readonly value: string };
  readonly resources: readonly MesosResource[];
  readonly command: { readonly value: string };
}

type Operation = MesosOperationInfo & { readonly launch?: { readonly task_infos: readonly TaskInfo[] } };

interface Call {
  readonly type: string;
  readonly framework_id?: { readonly value: string };
  readonly subscribe?: { readonly framework_info: { readonly roles?: readonly string[] } };
  readonly accept?: {
    readonly offer_ids: readonly { readonly value: string }[];
    readonly operations: readonly Operation[];
  };
  readonly decline?: { readonly offer_ids: readonly { readonly value: string }[] };
  readonly acknowledge?: { readonly uuid: string };
  readonly acknowledge_operation_status?: { readonly uuid: string };
}

interface Agent {
  readonly id: string;
  readonly hostname: string;
  totals: readonly MesosResource[];
}

const REOFFER_MS = 20;

/**
 * The scheduler endpoint of a Mesos master with agents behind it, as far as one framework with disks needs it, written from
 * the contract (sections 1.7, 1.9, 1.15, 1.18). Throws, and so fails the test, at what a real master refuses.
 */
export class MesosMaster {
  readonly tasks: TaskInfo[] = [];
  readonly acknowledged = new Set<string>();
  /** What CREATE_DISK comes to; a message makes it fail. */
  createDisk: (source: MesosResource) => string | undefined = () => undefined;
  readonly faults: string[] = [];
  readonly #agents = new Map<string, Agent>();
  readonly #offers = new Map<string, { readonly agent: Agent; readonly resources: readonly MesosResource[] }>();
  /** Resources that tasks or pending operations use. */
  readonly #used = new Map<string, { readonly agent: Agent; readonly resources: readonly MesosResource[] }>();
  readonly #server: Server;
  readonly #frameworkId = randomUUID();
  #stream: ServerResponse | undefined;
  #streamId = '';
  #role = '';
  #timer: NodeJS.Timeout | undefined;

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        this.faults.push(String(error));
        response.writeHead(400).end(String(error));
      });
    });
  }

  static async start(): Promise<MesosMaster> {
    const master = new MesosMaster();
    await new Promise<void>((resolve) => {
      master.#server.listen(0, '127.0.0.1', resolve);
    });
    return master;
  }

  get url(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  }

  addAgent(hostname: string, totals: readonly MesosResource[]): void {
    const id = `agent-${hostname}`;
    this.#agents.set(id, { id, hostname, totals });
    this.#offerSoon();
  }

  totalsOf(hostname: string): readonly MesosResource[] {
    return this.#agents.get(`agent-${hostname}`)?.totals ?? [];
  }

  /** The newest task came to `state`. */
  taskIs(state: string, message?: string): void {
    const task = this.tasks.at(-1);
    if (task === undefined) throw new Error('there is no task');
    const { task_id, agent_id } = task;
    if (state !== 'TASK_RUNNING') this.#used.delete(task_id.value);
    const uuid = Buffer.from(randomUUID()).toString('base64');
    this.#send({
      type: 'UPDATE',
      update: { status: { task_id, agent_id, state, uuid, ...(message === undefined ? {} : { message }) } },
    });
    this.#offerSoon();
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    if (request.url !== '/api/v1/scheduler' || request.method !== 'POST') {
      response.writeHead(404).end();
      return;
    }
    if (request.headers['content-type'] !== 'application/json') throw new Error('415 Unsupported Media Type');
    const call = JSON.parse(Buffer.concat(chunks).toString('utf8')) as Call;
    if (call.type === 'SUBSCRIBE') return this.#subscribe(call, response);
    if (request.headers['mesos-stream-id'] !== this.#streamId) throw new Error(`${call.type} without the stream id`);
    if (call.framework_id?.value !== this.#frameworkId) throw new Error(`${call.type} of another framework`);
    this.#perform(call);
    response.writeHead(202).end();
  }

  #perform(call: Call): void {
    if (call.accept !== undefined) this.#accept(call.accept);
    for (const { value } of call.decline?.offer_ids ?? []) {
      if (!this.#offers.delete(value)) throw new Error(`DECLINE of an offer that is not there`);
    }
    const acknowledged = call.acknowledge?.uuid ?? call.acknowledge_operation_status?.uuid;
    if (acknowledged !== undefined) this.acknowledged.add(acknowledged);
    this.#offerSoon();
  }

  #subscribe({ subscribe }: Call, response: ServerResponse): void {
    this.#role = subscribe?.framework_info.roles?.[0] ?? '*';
    this.#streamId = randomUUID();
    this.#stream = response;
    response.writeHead(200, { 'content-type': 'application/json', 'mesos-stream-id': this.#streamId });
    response.once('close', () => {
      if (this.#stream === response) this.#stream = undefined;
      this.#offers.clear();
    });
    this.#send({ type: 'SUBSCRIBED', subscribed: { framework_id: { value: this.#frameworkId } } });
    this.#send({ type: 'HEARTBEAT' });
    this.#offerSoon();
  }

  #accept({ offer_ids, operations }: NonNullable<Call['accept']>): void {
    const [first] = offer_ids;
    const offer = this.#offers.get(first?.value ?? '');
    if (offer === undefined || first === undefined) throw new Error('ACCEPT of an offer that is not there');
    this.#offers.delete(first.value);
    const { agent } = offer;
    let left = offer.resources;
    for (const operation of operations) {
      for (const task of operation.launch?.task_infos ?? []) {
        if (task.agent_id.value !== agent.id) throw new Error('LAUNCH on another agent than the offer');
        left = take(left, task.resources, []);
        this.#used.set(task.task_id.value, { agent, resources: task.resources });
        this.tasks.push(task);
      }
      if (operation.launch !== undefined) continue;
      const { consumed, converted } = speculation(operation);
      if (operation.type === 'RESERVE' && (operation.reserve?.source ?? []).length > 0)
        throw new Error('RESERVE with source');
      if (operation.type === 'CREATE' && consumed.some(({ reservations = [] }) => reservations.length === 0))
        throw new Error('CREATE on what is not reserved');
      left = take(left, consumed, converted ?? []);
      if (converted === undefined) this.#makeDisk(operation, agent, consumed);
      else agent.totals = applyConversion(agent.totals, consumed, converted) ?? [];
    }
  }

  #makeDisk(operation: Operation, agent: Agent, consumed: readonly MesosResource[]): void {
    const [source] = consumed;
    const uuid = randomUUID();
    if (source === undefined) throw new Error('CREATE_DISK without a source');
    this.#used.set(uuid, { agent, resources: consumed });
    setImmediate(() => {
      this.#used.delete(uuid);
      const failure = this.createDisk(source);
      const disk = {
        ...source,
        disk: { source: { ...source.disk?.source, type: 'MOUNT', id: uuid, mount: { root: '/disks' } } },
      };
      if (failure === undefined) agent.totals = applyConversion(agent.totals, consumed, [disk]) ?? [];
      const status = {
        operation_id: operation.id,
        state: failure === undefined ? 'OPERATION_FINISHED' : 'OPERATION_FAILED',
        uuid: { value: Buffer.from(uuid).toString('base64') },
        agent_id: { value: agent.id },
        resource_provider_id: source.provider_id,
        ...(failure === undefined ? { converted_resources: [disk] } : { message: failure }),
      };
      this.#send({ type: 'UPDATE_OPERATION_STATUS', update_operation_status: { status } });
      this.#offerSoon();
    });
  }

  #offerSoon(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#offer(), REOFFER_MS);
  }

  /** Everything that nobody uses and that is not on offer. */
  #offer(): void {
    if (this.#stream === undefined) return;
    const offers: object[] = [];
    for (const agent of this.#agents.values()) {
      let left: readonly MesosResource[] = agent.totals.map((one) => ({
        ...one,
        allocation_info: { role: this.#role },
      }));
      for (const part of [...this.#used.values(), ...this.#offers.values()])
        if (part.agent === agent) left = take(left, part.resources, []);
      if (!left.some(({ name }) => name === 'cpus' || name === 'mem')) continue;
      const id = { value: randomUUID() };
      this.#offers.set(id.value, { agent, resources: left });
      offers.push({ id, agent_id: { value: agent.id }, hostname: agent.hostname, resources: left });
    }
    if (offers.length > 0) this.#send({ type: 'OFFERS', offers: { offers } });
  }

  #send(event: object): void {
    const text = JSON.stringify(event);
    this.#stream?.write(`${Buffer.byteLength(text)}\n${text}`);
  }
}

/** Resources in allocated form, less some and with others. Throws when they are not there. */
function take(
  from: readonly MesosResource[],
  consumed: readonly MesosResource[],
  converted: readonly MesosResource[],
): readonly MesosResource[] {
  const allocation = from[0]?.allocation_info;
  const left = applyConversion(
    from.map(({ allocation_info: _allocation, ...rest }) => rest),
    consumed,
    converted,
  );
  if (left === undefined) throw new Error(`these resources were not offered: ${JSON.stringify(consumed)}`);
  return left.map((one) => ({ ...one, ...(allocation === undefined ? {} : { allocation_info: allocation }) }));
}
