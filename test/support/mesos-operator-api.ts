import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

/** An agent as it registers. */
export interface OperatorAgent {
  readonly id: string;
  readonly hostname: string;
  readonly address: string;
  readonly port: number;
  readonly attributes: readonly object[];
}

/** A task of a partition aware framework, or of another one. */
interface OperatorTask {
  readonly agentId: string;
  readonly partitionAware: boolean;
}

interface Call {
  readonly type?: string;
  readonly mark_agent_gone?: { readonly agent_id: { readonly value: string } };
}

const JSON_TYPE = 'application/json';

/**
 * A Mesos master as subscribers and operators see it over HTTP, written from src/master/{http,master,readonly_handler,registrar}.cpp of
 * 1.11: what it tells of agents, and what it does not. Made with `follow`, it is one that does not lead.
 */
export class MesosOperatorApi {
  /** Asked for by every request, when set. */
  authorization: string | undefined;
  /** Where the leading one is, when it is another; null while nobody leads. */
  follow: string | null | undefined;
  heartbeatSeconds = 15;
  /** Calls and readings that were answered with success, in order: SUBSCRIBE, REGISTRY, … */
  readonly calls: string[] = [];
  readonly #registered = new Map<string, OperatorAgent>();
  readonly #recovered = new Map<string, OperatorAgent>();
  readonly #unreachable = new Set<string>();
  readonly #gone = new Set<string>();
  readonly #tasks: OperatorTask[] = [];
  readonly #subscribers = new Set<ServerResponse>();
  readonly #server: Server;
  #beats: NodeJS.Timeout | undefined;

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        response.writeHead(500).end(String(error));
      });
    });
  }

  static async start(port = 0): Promise<MesosOperatorApi> {
    const master = new MesosOperatorApi();
    await new Promise<void>((resolve, reject) => {
      master.#server.once('error', reject);
      master.#server.listen(port, '127.0.0.1', resolve);
    });
    return master;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get subscribers(): number {
    return this.#subscribers.size;
  }

  /** An agent registers, or registers again. A gone one is refused. */
  register(fields: Partial<OperatorAgent> = {}): OperatorAgent {
    const agent = {
      ...{ id: `${randomUUID()}-S0`, hostname: 'host', address: '10.0.0.1', port: 5051, attributes: [] },
      ...fields,
    };
    if (this.#gone.has(agent.id)) throw new Error(`${agent.id} is gone: it is told to shut down`);
    this.#unreachable.delete(agent.id);
    this.#recovered.delete(agent.id);
    this.#registered.set(agent.id, agent);
    this.#send({ type: 'AGENT_ADDED', agent_added: { agent: registered(agent) } });
    return agent;
  }

  /** A task runs on an agent. */
  launch(agentId: string, partitionAware: boolean): void {
    this.#tasks.push({ agentId, partitionAware });
  }

  /** An agent unregisters by itself: the one case of which subscribers are told. */
  unregister(agentId: string): void {
    if (!this.#registered.delete(agentId)) throw new Error(`${agentId} is not registered`);
    this.#tellTasks(agentId, 'TASK_LOST', 'REASON_AGENT_REMOVED');
    this.#send({ type: 'AGENT_REMOVED', agent_removed: { agent_id: { value: agentId } } });
  }

  /** An agent did not answer for too long. */
  lose(agentId: string): void {
    if (!this.#registered.delete(agentId) && !this.#recovered.delete(agentId))
      throw new Error(`${agentId} is not registered`);
    this.#unreachable.add(agentId);
    this.#tellTasks(agentId, 'TASK_UNREACHABLE', 'REASON_AGENT_REMOVED');
  }

  /** Another master leads now, with the same registry: its agents have yet to register again. */
  failOver(): void {
    for (const [id, agent] of this.#registered) this.#recovered.set(id, agent);
    this.#registered.clear();
    this.dropStreams();
  }

  dropStreams(): void {
    for (const response of this.#subscribers) response.destroy();
  }

  heartbeat(): void {
    this.#send({ type: 'HEARTBEAT' });
  }

  /** Sends heartbeats by itself, so many milliseconds apart. */
  beatEvery(everyMs: number): void {
    this.heartbeatSeconds = everyMs / 1000;
    clearInterval(this.#beats);
    this.#beats = setInterval(() => this.heartbeat(), everyMs);
  }

  /** Sends bytes as they are. */
  sendRaw(bytes: string): void {
    for (const response of this.#subscribers) response.write(bytes);
  }

  async close(): Promise<void> {
    clearInterval(this.#beats);
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const refuse = (status: number, text: string, headers = {}): void => {
      response.writeHead(status, { 'content-type': 'text/plain', ...headers }).end(text);
    };
    const { headers, method, url = '' } = request;
    if (this.authorization !== undefined && headers.authorization !== this.authorization)
      return refuse(401, '', { 'www-authenticate': 'Basic realm="mesos-master-readonly"' });
    // The registrar is a process of its own: a master that does not lead does not redirect, but has nothing to tell.
    if (url === '/registrar(1)/registry') return this.#registry(response);
    if (url !== '/api/v1') return refuse(404, '');
    if (this.follow === null) return refuse(503, 'No leader elected');
    if (this.follow !== undefined)
      return refuse(307, '', { location: `${this.follow.replace(/^https?:/, '')}/api/v1` });
    if (method !== 'POST') return refuse(405, `Expecting one of { 'POST' }, but received '${method}'`);
    if (headers['content-type'] === undefined) return refuse(400, "Expecting 'Content-Type' to be present");
    if (headers['content-type'] !== JSON_TYPE) return refuse(415, `Expecting 'Content-Type' of ${JSON_TYPE}`);
    let call: Call;
    try {
      call = JSON.parse(Buffer.concat(chunks).toString('utf8')) as Call;
    } catch {
      return refuse(400, 'Failed to parse body into JSON');
    }
    if (call.type === undefined) return refuse(400, "Failed to validate master::Call: Expecting 'type' to be present");
    if (!/^(application\/json|\*\/\*)$/.test(headers.accept ?? '*/*'))
      return refuse(406, "Expecting 'Accept' to allow 'application/json'");
    if (call.type === 'SUBSCRIBE') return this.#subscribe(response);
    if (call.type !== 'MARK_AGENT_GONE') return refuse(501, '');
    const id = call.mark_agent_gone?.agent_id.value ?? '';
    if (!this.#markGone(id)) return refuse(404, `Agent '${id}' not found`);
    this.calls.push(call.type);
    response.writeHead(200).end();
  }

  #markGone(id: string): boolean {
    if (this.#gone.has(id)) return true;
    const known = [this.#registered.delete(id), this.#recovered.delete(id), this.#unreachable.delete(id)];
    if (!known.includes(true)) return false;
    this.#gone.add(id);
    this.#tellTasks(id, 'TASK_GONE_BY_OPERATOR', 'REASON_AGENT_REMOVED_BY_OPERATOR');
    return true;
  }

  #subscribe(response: ServerResponse): void {
    this.calls.push('SUBSCRIBE');
    response.writeHead(200, { 'content-type': JSON_TYPE });
    this.#subscribers.add(response);
    response.once('close', () => this.#subscribers.delete(response));
    const get_agents = {
      agents: [...this.#registered.values()].map(registered),
      recovered_agents: [...this.#recovered.values()].map(info),
    };
    write(response, {
      type: 'SUBSCRIBED',
      subscribed: {
        get_state: { get_tasks: {}, get_executors: {}, get_frameworks: {}, get_agents },
        heartbeat_interval_seconds: this.heartbeatSeconds,
      },
    });
    write(response, { type: 'HEARTBEAT' });
  }

  #registry(response: ServerResponse): void {
    this.calls.push('REGISTRY');
    const timestamp = { nanoseconds: Date.now() * 1e6 };
    const away = (ids: Set<string>): object => ({ slaves: [...ids].map((value) => ({ id: { value }, timestamp })) });
    const admitted = [...this.#recovered.values(), ...this.#registered.values()];
    const registry = {
      master: { info: { id: 'master', ip: 0, port: this.port, hostname: '127.0.0.1' } },
      slaves: { slaves: admitted.map((agent) => ({ info: info(agent) })) },
      unreachable: away(this.#unreachable),
      gone: away(this.#gone),
    };
    response
      .writeHead(200, { 'content-type': JSON_TYPE })
      .end(JSON.stringify(this.follow === undefined ? registry : {}));
  }

  /** Frameworks that are not partition aware are told TASK_LOST whatever happened. */
  #tellTasks(agentId: string, state: string, reason: string): void {
    const tasks = this.#tasks.filter((task) => task.agentId === agentId);
    for (const { partitionAware } of tasks) {
      const status = {
        task_id: { value: randomUUID() },
        agent_id: { value: agentId },
        source: 'SOURCE_MASTER',
        ...(partitionAware ? { state, reason } : { state: 'TASK_LOST', reason: 'REASON_AGENT_REMOVED' }),
      };
      this.#send({
        type: 'TASK_UPDATED',
        task_updated: { framework_id: { value: 'framework' }, status, state: status.state },
      });
    }
  }

  #send(event: object): void {
    for (const response of this.#subscribers) write(response, event);
  }
}

function write(response: ServerResponse, event: object): void {
  const text = JSON.stringify(event);
  response.write(`${Buffer.byteLength(text)}\n${text}`);
}

function registered(agent: OperatorAgent): object {
  return {
    agent_info: info(agent),
    active: true,
    version: '1.11.0',
    pid: `slave(1)@${agent.address}:${agent.port}`,
    registered_time: { nanoseconds: Date.now() * 1e6 },
  };
}

function info({ id, hostname, port, attributes }: OperatorAgent): object {
  return { id: { value: id }, hostname, port, attributes };
}

/** `--attributes=flocker_node:UUID` as it comes in JSON. */
export function nodeAttribute(node: string): object {
  return { name: 'flocker_node', type: 'TEXT', text: { value: node } };
}

/** What an operator does with `POST /api/v1`: says that an agent will not come back. */
export async function markAgentGone(masterUrl: string, agentId: string): Promise<number> {
  const { status } = await fetch(`${masterUrl}/api/v1`, {
    method: 'POST',
    headers: { 'content-type': JSON_TYPE, accept: JSON_TYPE },
    body: JSON.stringify({ type: 'MARK_AGENT_GONE', mark_agent_gone: { agent_id: { value: agentId } } }),
  });
  return status;
}
