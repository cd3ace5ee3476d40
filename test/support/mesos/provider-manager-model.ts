import {
  applyConversion,
  identity,
  type MesosOperationInfo,
  type MesosResource,
  milli,
  speculation,
  sum,
} from './mesos-resources.ts';

/** What the real agent answers a call with. */
export interface CallReply {
  readonly status: number;
  readonly text: string;
}

interface Status {
  readonly state?: string;
  readonly uuid?: { readonly value: string };
  readonly message?: string;
  readonly operation_id?: { readonly value: string };
  readonly resource_provider_id?: { readonly value: string };
  readonly converted_resources?: readonly MesosResource[];
}

/** An operation as master and agent track it. */
export interface TrackedOperation {
  readonly uuid: string;
  readonly frameworkId: string | undefined;
  readonly info: MesosOperationInfo;
  status: Status | undefined;
  acknowledged: boolean;
}

interface Listed {
  readonly framework_id?: { readonly value: string };
  readonly agent_id?: { readonly value: string };
  readonly uuid?: { readonly value: string };
  readonly info?: MesosOperationInfo;
  readonly latest_status?: Status;
}

interface Body {
  readonly type?: string;
  readonly resource_provider_id?: { readonly value: string };
  readonly subscribe?: { readonly resource_provider_info?: Record<string, unknown> };
  readonly update_state?: {
    readonly resource_version_uuid?: { readonly value: string };
    readonly resources?: readonly MesosResource[];
    readonly operations?: readonly Listed[];
  };
  readonly update_operation_status?: {
    readonly framework_id?: { readonly value: string };
    readonly operation_uuid?: { readonly value: string };
    readonly status?: Status;
    readonly latest_status?: Status;
  };
  readonly update_publish_resources_status?: { readonly uuid?: { readonly value: string }; readonly status?: string };
}

/** A real agent or master would have aborted here. */
export class HostAbort extends Error {
  override readonly name = 'HostAbort';
}

const TERMINAL = new Set(['OPERATION_FINISHED', 'OPERATION_FAILED', 'OPERATION_DROPPED', 'OPERATION_ERROR']);
/** A real agent was seen to die of an instant resubscribe; the project promises a second. */
const SAFE_PAUSE_MS = 1_000;

/**
 * The resource provider manager of a Mesos agent with the master behind it, as far as a provider can tell, written from the
 * contract (sections 1.2 to 1.16). Where a CHECK would end one of them it throws and keeps {@link HostAbort} in `aborts`.
 */
export class ProviderManagerModel {
  agentId: string;
  readonly aborts: HostAbort[] = [];
  readonly #registry = new Map<string, { readonly type: unknown; readonly name: unknown; removed: boolean }>();
  readonly #newUuid: () => string;
  readonly #nowMs: () => number;
  readonly #closedAtMs = new Map<string, number>();
  /** Everything that this master ever sent, by uuid. */
  readonly #sent = new Map<string, TrackedOperation>();
  readonly publishes = new Map<string, string | undefined>();
  /** The provider's stream. */
  stream: { readonly providerId: string; readonly streamId: string } | undefined;
  /** What the agent knows of the provider: from its first UPDATE_STATE to the end of its stream. */
  entry:
    | { version: string; totals: readonly MesosResource[]; readonly operations: Map<string, TrackedOperation> }
    | undefined;
  /** Speculative operations that did not come true: totals are wrong until the next UPDATE_STATE. */
  doubtful = false;
  states = 0;

  constructor(options: { readonly agentId: string; readonly newUuid: () => string; readonly nowMs: () => number }) {
    this.agentId = options.agentId;
    this.#newUuid = options.newUuid;
    this.#nowMs = options.nowMs;
  }

  get sent(): ReadonlyMap<string, TrackedOperation> {
    return this.#sent;
  }

  /** A SUBSCRIBE: a refusal, or a stream; without a provider id the stream ends at once. */
  subscribe(body: Body): CallReply | { readonly streamId: string; readonly providerId: string | undefined } {
    const info = body.subscribe?.resource_provider_info;
    if (typeof info?.['type'] !== 'string' || typeof info['name'] !== 'string')
      return bad('Expecting resource_provider_info with type and name');
    if (info['storage'] !== undefined) return bad('storage is for the built-in provider');
    const id = (info['id'] as { value?: string } | undefined)?.value;
    const streamId = this.#newUuid();
    if (id === undefined) {
      if (this.stream !== undefined) this.#abort('H7', 'a second provider subscribed while the first was there');
      const providerId = this.#newUuid();
      this.#registry.set(providerId, { type: info['type'], name: info['name'], removed: false });
      this.stream = { providerId, streamId };
      return { streamId, providerId };
    }
    if (this.stream?.providerId === id) this.#abort('H7', 'SUBSCRIBE while the stream before is still open');
    const pauseMs = this.#nowMs() - (this.#closedAtMs.get(id) ?? Number.NEGATIVE_INFINITY);
    if (pauseMs < SAFE_PAUSE_MS) this.#abort('H7', `SUBSCRIBE ${Math.round(pauseMs)} ms after the end of the stream`);
    const known = this.#registry.get(id);
    if (known === undefined || known.removed || known.type !== info['type'] || known.name !== info['name'])
      return { streamId, providerId: undefined };
    this.stream = { providerId: id, streamId };
    return { streamId, providerId: id };
  }

  /** The stream has ended, whoever ended it: agent and master forget the provider. */
  disconnect(): void {
    if (this.stream !== undefined) this.#closedAtMs.set(this.stream.providerId, this.#nowMs());
    this.stream = undefined;
    this.entry = undefined;
    this.doubtful = false;
    for (const [uuid, status] of this.publishes) if (status === undefined) this.publishes.set(uuid, 'DISCONNECTED');
  }

  /** Any call but SUBSCRIBE. */
  call(streamId: string | undefined, body: Body): CallReply {
    const { stream } = this;
    if (body.type === undefined) return bad("Expecting 'type' to be present");
    if (body.resource_provider_id?.value === undefined) return bad("Expecting 'resource_provider_id' to be present");
    if (stream === undefined || stream.providerId !== body.resource_provider_id.value)
      return bad('Resource provider is not subscribed');
    if (streamId === undefined) return bad("All non-subscribe calls should include the 'Mesos-Stream-Id' header");
    if (streamId !== stream.streamId)
      return bad(
        `The stream ID '${streamId}' included in this request didn't match the stream ID currently associated`,
      );
    switch (body.type) {
      case 'UPDATE_STATE':
        return this.#updateState(stream.providerId, body.update_state);
      case 'UPDATE_OPERATION_STATUS':
        return this.#updateStatus(stream.providerId, body.update_operation_status);
      case 'UPDATE_PUBLISH_RESOURCES_STATUS':
        return this.#updatePublish(body.update_publish_resources_status);
      default:
        return bad(`Failed to parse the call: ${body.type}`);
    }
  }

  /** The master hands an operation down; agent and master do their speculative part. */
  apply(info: MesosOperationInfo, frameworkId?: string): object {
    const { entry } = this;
    if (entry === undefined) this.#abort('H8', 'an operation while the provider was not there');
    const uuid = base64(this.#newUuid());
    const operation: TrackedOperation = { uuid, frameworkId, info, status: undefined, acknowledged: false };
    const { consumed, converted } = speculation(info);
    if (converted !== undefined) {
      const totals = applyConversion(entry.totals, consumed, converted);
      if (totals === undefined) return this.#abort('H9', `${info.type} on resources that are not there any more`);
      entry.totals = totals;
    }
    entry.operations.set(uuid, operation);
    this.#sent.set(uuid, operation);
    return {
      type: 'APPLY_OPERATION',
      apply_operation: {
        ...(frameworkId === undefined ? {} : { framework_id: { value: frameworkId } }),
        info,
        operation_uuid: { value: uuid },
        resource_version_uuid: { value: entry.version },
      },
    };
  }

  /** The framework, or the master for it, acknowledges; undefined when there is nothing to acknowledge. */
  acknowledge(uuid: string): object | undefined {
    const operation = this.entry?.operations.get(uuid);
    if (operation?.status?.uuid === undefined) return undefined;
    operation.acknowledged = true;
    this.entry?.operations.delete(uuid);
    return {
      type: 'ACKNOWLEDGE_OPERATION_STATUS',
      acknowledge_operation_status: { status_uuid: operation.status.uuid, operation_uuid: { value: uuid } },
    };
  }

  publish(resources: readonly MesosResource[]): { readonly uuid: string; readonly event: object } {
    const uuid = base64(this.#newUuid());
    this.publishes.set(uuid, undefined);
    return { uuid, event: { type: 'PUBLISH_RESOURCES', publish_resources: { uuid: { value: uuid }, resources } } };
  }

  /** MARK_RESOURCE_PROVIDER_GONE: the id is burnt. */
  remove(providerId: string): object {
    const known = this.#registry.get(providerId);
    if (known !== undefined) known.removed = true;
    return { type: 'TEARDOWN' };
  }

  /** The agent lost its meta directory: it is another one. */
  becomeAnother(agentId: string): void {
    this.disconnect();
    this.#registry.clear();
    this.#sent.clear();
    this.agentId = agentId;
  }

  #updateState(providerId: string, state: Body['update_state']): CallReply {
    const { resource_version_uuid: version, resources = [], operations = [] } = state ?? {};
    if (version === undefined) return bad("Expecting 'resource_version_uuid' to be present");
    if (resources.some((resource) => resource.provider_id?.value !== providerId))
      return bad('Expecting all resources to have the provider ID of the caller');
    this.#checkResources(resources);
    if (resources.some((resource) => resource.allocation_info !== undefined))
      this.#abort('1.5', 'totals with an allocation');
    const ids = resources.flatMap((resource) => resource.disk?.source?.id ?? []);
    if (new Set(ids).size !== ids.length) this.#abort('H11', `a disk is told of twice: ${ids.join(', ')}`);
    const kinds = resources.map(identity);
    if (new Set(kinds).size !== kinds.length) this.#abort('H11', 'a resource is told of twice');
    const before = this.entry?.operations;
    const listed = new Map<string, TrackedOperation>();
    for (const one of operations) {
      const operation = this.#checkListed(one, before);
      listed.set(operation.uuid, operation);
    }
    for (const operation of before === undefined ? this.#sent.values() : before.values()) {
      const answered = operation.status?.uuid !== undefined && !operation.acknowledged;
      if (answered && !listed.has(operation.uuid))
        this.#abort('H10', `operation ${operation.uuid} is not acknowledged yet, and was not told of`);
    }
    this.entry = { version: version.value, totals: resources.filter((one) => milli(one) > 0), operations: listed };
    this.doubtful = false;
    this.states += 1;
    return ACCEPTED;
  }

  #checkListed(one: Listed, before: ReadonlyMap<string, TrackedOperation> | undefined): TrackedOperation {
    const uuid = one.uuid?.value ?? '';
    if (bytesOf(uuid) !== 16) this.#abort('H5', 'the uuid of a listed operation is not 16 bytes');
    const sent = this.#sent.get(uuid);
    if (sent === undefined) return this.#abort('H6', `operation ${uuid} was never sent by this master`);
    if (one.agent_id?.value !== this.agentId)
      this.#abort('H3', `operation ${uuid} has agent id ${one.agent_id?.value}`);
    if (one.framework_id?.value !== sent.frameworkId) this.#abort('H3', `operation ${uuid} has another framework id`);
    if (JSON.stringify(one.info) !== JSON.stringify(sent.info))
      this.#abort('1.5', `operation ${uuid} has another info`);
    const terminal = TERMINAL.has(one.latest_status?.state ?? '');
    if (!terminal && before !== undefined && !before.has(uuid) && !sent.acknowledged)
      this.#abort('H6', `operation ${uuid} is pending, and the master does not know it any more`);
    if (terminal && sent.status === undefined) sent.status = one.latest_status;
    return sent;
  }

  #updateStatus(providerId: string, update: Body['update_operation_status']): CallReply {
    const { operation_uuid: uuid, status, latest_status: latest, framework_id: framework } = update ?? {};
    if (uuid === undefined || status?.state === undefined) return bad('Expecting operation_uuid and status');
    if (status.resource_provider_id?.value !== providerId)
      return bad("Expecting 'status.resource_provider_id' of the caller");
    if (bytesOf(uuid.value) !== 16) this.#abort('H5', 'operation_uuid is not 16 bytes');
    if (latest !== undefined && latest.resource_provider_id?.value !== providerId)
      this.#abort('H5', 'latest_status without our resource_provider_id');
    if (!TERMINAL.has(status.state)) this.#abort('1.11', `status ${status.state} must never be sent`);
    const { entry } = this;
    if (entry === undefined) return this.#abort('H8', 'a terminal status before the first UPDATE_STATE');
    this.#checkResources(status.converted_resources ?? []);
    const operation = entry.operations.get(uuid.value);
    if (operation === undefined) return ACCEPTED;
    if (framework?.value !== operation.frameworkId) this.#abort('H3', `status of ${uuid.value} has another framework`);
    if (operation.status !== undefined) {
      if (operation.status.uuid?.value !== status.uuid?.value || operation.status.state !== status.state)
        this.#abort('1.11', `the terminal status of ${uuid.value} changed`);
      return ACCEPTED;
    }
    const { consumed, converted } = speculation(operation.info);
    if (status.state === 'OPERATION_FINISHED' && converted === undefined) this.#checkDisks(consumed, status);
    if (status.state === 'OPERATION_FINISHED' && converted === undefined) {
      const totals = applyConversion(entry.totals, consumed, status.converted_resources ?? []);
      if (totals === undefined) return this.#abort('H9', `${operation.info.type} finished on resources that are gone`);
      entry.totals = totals;
    }
    if (status.state !== 'OPERATION_FINISHED' && converted !== undefined) this.doubtful = true;
    operation.status = status;
    return ACCEPTED;
  }

  #checkDisks(consumed: readonly MesosResource[], { converted_resources: converted = [] }: Status): void {
    if (converted.length > 0 && sum(converted) !== sum(consumed))
      this.#abort('H1', `${sum(consumed)} became ${sum(converted)} thousandths of a MiB`);
    const [source] = consumed;
    const kept = ({ allocation_info, provider_id, reservations = [] }: MesosResource): string =>
      JSON.stringify([allocation_info?.role, provider_id?.value, reservations]);
    for (const one of converted) {
      if (source !== undefined && kept(one) !== kept(source))
        this.#abort('H2', 'a disk has another allocation, provider or reservation than its source');
    }
  }

  #checkResources(resources: readonly MesosResource[]): void {
    for (const one of resources) {
      if (one.role !== undefined || one.reservation !== undefined)
        this.#abort('H4', 'a resource has role or reservation');
      if (one.type !== 'SCALAR') this.#abort('H4', `a resource of type ${one.type}`);
      const source = one.disk?.source;
      if (source?.type === 'RAW' && (source.mount !== undefined || source.path !== undefined))
        this.#abort('1.7', 'a RAW disk with a mount');
      if (Math.abs((one.scalar?.value ?? 0) * 1000 - milli(one)) > 1e-3)
        this.#abort('1.7', `${one.scalar?.value} MiB has more than three decimals`);
    }
  }

  #updatePublish(update: Body['update_publish_resources_status']): CallReply {
    const { uuid, status } = update ?? {};
    if (uuid === undefined || (status !== 'OK' && status !== 'FAILED')) return bad('Expecting uuid and status');
    if (this.publishes.has(uuid.value) && this.publishes.get(uuid.value) === undefined)
      this.publishes.set(uuid.value, status);
    return ACCEPTED;
  }

  #abort(rule: string, what: string): never {
    const abort = new HostAbort(`${rule}: ${what}`);
    this.aborts.push(abort);
    throw abort;
  }
}

const ACCEPTED: CallReply = { status: 202, text: '' };

function bad(text: string): CallReply {
  return { status: 400, text };
}

function base64(uuid: string): string {
  return Buffer.from(uuid.replaceAll('-', ''), 'hex').toString('base64');
}

function bytesOf(text: string): number {
  return Buffer.from(text, 'base64').length;
}
