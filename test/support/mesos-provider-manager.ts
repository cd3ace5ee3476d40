import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { MesosOperationInfo, MesosResource } from './mesos/mesos-resources.ts';
import { type CallReply, ProviderManagerModel, type TrackedOperation } from './mesos/provider-manager-model.ts';

/** A call as it was received. */
export interface ReceivedCall {
  readonly type: string;
  readonly body: Record<string, unknown>;
  readonly reply: CallReply;
}

/** A real HTTP server that behaves as a Mesos agent towards a resource provider. */
export class MesosProviderManager {
  readonly model: ProviderManagerModel;
  /** Everything but SUBSCRIBE, in order. */
  readonly calls: ReceivedCall[] = [];
  /** SUBSCRIBEs, in order. */
  readonly subscriptions: Record<string, unknown>[] = [];
  /** 503 while false: the agent has no id yet. */
  ready = true;
  /** Requests that came while it was not. */
  refused = 0;
  /** Asked for by every request, when set. */
  authorization: string | undefined;
  #server: Server;
  #stream: ServerResponse | undefined;
  #port = 0;
  readonly #listeners = new Set<() => void>();

  private constructor() {
    this.model = new ProviderManagerModel({
      agentId: `${randomUUID()}-S0`,
      newUuid: randomUUID,
      nowMs: () => performance.now(),
    });
    this.#server = this.#newServer();
  }

  static async start(): Promise<MesosProviderManager> {
    const manager = new MesosProviderManager();
    await manager.listen();
    return manager;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get subscribed(): boolean {
    return this.#stream !== undefined && this.model.entry !== undefined;
  }

  get totals(): readonly MesosResource[] {
    return this.model.entry?.totals ?? [];
  }

  /** Listens, on the port of the time before if there was one. */
  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#port, '127.0.0.1', () => {
        const address = this.#server.address();
        this.#port = typeof address === 'object' && address !== null ? address.port : 0;
        resolve();
      });
    });
  }

  /** The agent ends, as by a restart: all connections break and nobody listens. */
  async stop(): Promise<void> {
    const ended = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    this.#server.closeAllConnections();
    await ended;
    this.#disconnected(this.#stream);
    this.#server = this.#newServer();
  }

  /** Breaks the stream alone. */
  dropStream(): void {
    this.#stream?.socket?.destroy();
  }

  /** Hands an operation down, as the master does for a framework that wants to hear of it. */
  apply(info: MesosOperationInfo, frameworkId?: string): TrackedOperation {
    const event = this.model.apply(info, frameworkId);
    const uuid = [...this.model.sent.keys()].at(-1) ?? '';
    this.send(event);
    const operation = this.model.sent.get(uuid);
    if (operation === undefined) throw new Error('the operation was not sent');
    return operation;
  }

  /** Resolves with the operation's status once there is one; acknowledges it unless told not to. */
  async ended(
    operation: TrackedOperation,
    timeoutMs = 30_000,
    acknowledge = true,
  ): Promise<NonNullable<TrackedOperation['status']>> {
    const status = await this.until(() => operation.status, `${operation.info.type} to end`, timeoutMs);
    if (acknowledge) this.acknowledge(operation);
    return status;
  }

  acknowledge({ uuid }: TrackedOperation): void {
    const event = this.model.acknowledge(uuid);
    if (event !== undefined) this.send(event);
  }

  /** Asks for disks and resolves with the provider's answer. */
  async publish(resources: readonly MesosResource[], timeoutMs = 30_000): Promise<string> {
    const { uuid, event } = this.model.publish(resources);
    this.send(event);
    return this.until(() => this.model.publishes.get(uuid), 'PUBLISH_RESOURCES to be answered', timeoutMs);
  }

  /** Sends an event in pieces, as records may be cut anywhere. */
  send(event: object): void {
    const text = Buffer.from(JSON.stringify(event));
    const record = Buffer.concat([Buffer.from(`${text.length}\n`), text]);
    const cut = record.length >> 1;
    this.#stream?.write(record.subarray(0, cut));
    this.#stream?.write(record.subarray(cut));
  }

  /** Resolves once `look` finds something; looks after every call. Fails at once when the host has aborted. */
  until<T>(look: () => T | undefined, what: string, timeoutMs = 30_000): Promise<T> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void): void => {
        clearTimeout(timer);
        this.#listeners.delete(check);
        settle();
      };
      const check = (): void => {
        const [abort] = this.model.aborts;
        if (abort !== undefined) return finish(() => reject(abort));
        const found = look();
        if (found !== undefined) finish(() => resolve(found));
      };
      const timer = setTimeout(
        () => finish(() => reject(new Error(`waited ${timeoutMs} ms for ${what}; last calls: ${this.#lastCalls()}`))),
        timeoutMs,
      );
      this.#listeners.add(check);
      check();
    });
  }

  /** Resolves once the provider has told its state. */
  async untilSubscribed(timeoutMs = 30_000): Promise<void> {
    await this.until(() => (this.subscribed ? true : undefined), 'the provider to subscribe', timeoutMs);
  }

  /** Stops; fails when a real agent or master would have aborted. */
  async close(): Promise<void> {
    await this.stop();
    const [abort] = this.model.aborts;
    if (abort !== undefined) throw abort;
  }

  #lastCalls(): string {
    return this.calls
      .slice(-5)
      .map(({ type, reply }) => `${type} ${reply.status} ${reply.text}`)
      .join('; ');
  }

  #newServer(): Server {
    return createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        response.writeHead(500).end(String(error));
        this.#changed();
      });
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString('utf8');
    const end = (status: number, said: string, headers: Record<string, string> = {}): void => {
      response.writeHead(status, headers).end(said);
    };
    const { headers, method } = request;
    const path = (request.url ?? '').replace('/slave(1)', '');
    if (path === '/health') return end(200, '');
    if (this.authorization !== undefined && headers.authorization !== this.authorization)
      return end(401, 'Unauthorized');
    if (path !== '/api/v1' && path !== '/api/v1/resource_provider') return end(404, 'Not Found');
    if (method !== 'POST') return end(405, '', { allow: 'POST' });
    if (headers['content-type'] === undefined) return end(400, 'Expecting Content-Type to be present');
    if (headers['content-type'] !== 'application/json') {
      return end(415, "Expecting 'Content-Type' of application/json or application/x-protobuf");
    }
    if (!this.ready) {
      this.refused += 1;
      end(503, 'Agent has not registered with the master yet');
      return this.#changed();
    }
    let body: Record<string, unknown>;
    try {
      body = JSON.parse(text) as Record<string, unknown>;
    } catch {
      return end(400, 'Failed to parse body into JSON');
    }
    if (path === '/api/v1') return this.#operator(body, end);
    const stream = headers['mesos-stream-id'];
    if (body['type'] === 'SUBSCRIBE') {
      if (stream !== undefined) return end(400, 'Subscribe calls should not include the Mesos-Stream-Id header');
      if (headers.accept !== undefined && !/application\/json|\*\/\*/.test(headers.accept)) return end(406, '');
      return this.#subscribe(body, response);
    }
    const reply = this.model.call(typeof stream === 'string' ? stream : undefined, body);
    this.calls.push({ type: String(body['type']), body, reply });
    end(reply.status, reply.text);
    this.#changed();
  }

  #operator(
    body: Record<string, unknown>,
    end: (status: number, said: string, headers?: Record<string, string>) => void,
  ): void {
    const json = { 'content-type': 'application/json' };
    if (body['type'] === 'GET_AGENT') {
      const answer = {
        type: 'GET_AGENT',
        get_agent: { agent_info: { hostname: 'test', id: { value: this.model.agentId } } },
      };
      return end(200, JSON.stringify(answer), json);
    }
    if (body['type'] === 'GET_RESOURCE_PROVIDERS') {
      const { stream, entry } = this.model;
      const ids = stream === undefined || entry === undefined ? [] : [stream.providerId];
      const providers = ids.map((id) => ({ resource_provider_info: { id: { value: id } } }));
      const answer = { type: 'GET_RESOURCE_PROVIDERS', get_resource_providers: { resource_providers: providers } };
      return end(200, JSON.stringify(answer), json);
    }
    end(400, `Failed to parse ${String(body['type'])}`);
  }

  #subscribe(body: Record<string, unknown>, response: ServerResponse): void {
    const info = (body['subscribe'] as { resource_provider_info?: Record<string, unknown> } | undefined)
      ?.resource_provider_info;
    this.subscriptions.push(info ?? {});
    const answer = this.model.subscribe(body);
    if ('status' in answer) {
      response.writeHead(answer.status).end(answer.text);
      return;
    }
    response.writeHead(200, { 'content-type': 'application/json', 'mesos-stream-id': answer.streamId });
    if (answer.providerId === undefined) {
      response.end();
      this.#changed();
      return;
    }
    this.#stream = response;
    response.once('close', () => this.#disconnected(response));
    this.send({ type: 'SUBSCRIBED', subscribed: { provider_id: { value: answer.providerId } } });
    this.#changed();
  }

  #disconnected(stream: ServerResponse | undefined): void {
    if (stream === undefined || stream !== this.#stream) return;
    this.#stream = undefined;
    this.model.disconnect();
    this.#changed();
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}
