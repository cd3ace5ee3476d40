import { type Static, type TSchema, Type } from 'typebox';
import { Compile } from 'typebox/compile';

const Id = Type.Object({ value: Type.String() });
const Label = Type.Object({ key: Type.String(), value: Type.Optional(Type.String()) });
const Labels = Type.Object({ labels: Type.Optional(Type.Array(Label)) });
export type Label = Static<typeof Label>;

const Reservation = Type.Object({
  type: Type.Optional(Type.String()),
  role: Type.Optional(Type.String()),
  principal: Type.Optional(Type.String()),
  labels: Type.Optional(Labels),
});
export type Reservation = Static<typeof Reservation>;

const Root = Type.Object({ root: Type.Optional(Type.String()) });
const DiskSource = Type.Object({
  type: Type.Optional(Type.String()),
  id: Type.Optional(Type.String()),
  profile: Type.Optional(Type.String()),
  vendor: Type.Optional(Type.String()),
  metadata: Type.Optional(Labels),
  mount: Type.Optional(Root),
  path: Type.Optional(Root),
});
export type DiskSource = Static<typeof DiskSource>;

/** A resource as Mesos has it in JSON. What we do not know of it is kept as it came. */
const Resource = Type.Object({
  name: Type.String(),
  type: Type.String(),
  scalar: Type.Optional(Type.Object({ value: Type.Number() })),
  provider_id: Type.Optional(Id),
  allocation_info: Type.Optional(Type.Object({ role: Type.Optional(Type.String()) })),
  reservations: Type.Optional(Type.Array(Reservation)),
  disk: Type.Optional(
    Type.Object({
      source: Type.Optional(DiskSource),
      persistence: Type.Optional(Type.Object({ id: Type.String(), principal: Type.Optional(Type.String()) })),
      volume: Type.Optional(Type.Unknown()),
    }),
  ),
  revocable: Type.Optional(Type.Unknown()),
  shared: Type.Optional(Type.Unknown()),
});
export type Resource = Static<typeof Resource>;

const Resources = Type.Array(Resource);
const OperationInfo = Type.Object({
  type: Type.Optional(Type.String()),
  id: Type.Optional(Id),
  reserve: Type.Optional(Type.Object({ source: Type.Optional(Resources), resources: Type.Optional(Resources) })),
  unreserve: Type.Optional(Type.Object({ resources: Type.Optional(Resources) })),
  create: Type.Optional(Type.Object({ volumes: Type.Optional(Resources) })),
  destroy: Type.Optional(Type.Object({ volumes: Type.Optional(Resources) })),
  create_disk: Type.Optional(
    Type.Object({
      source: Resource,
      target_type: Type.Optional(Type.String()),
      target_profile: Type.Optional(Type.String()),
    }),
  ),
  destroy_disk: Type.Optional(Type.Object({ source: Resource })),
});
/** `Offer.Operation`, as it came. */
export type OperationInfo = Static<typeof OperationInfo>;

/** One operation as it is in the provider's record. UUIDs are standard base64 of 16 bytes, as Mesos writes them. */
export const StoredOperation = Type.Object({
  uuid: Type.String(),
  frameworkId: Type.Union([Type.String(), Type.Null()]),
  info: OperationInfo,
  /** Null while it is pending. */
  status: Type.Union([
    Type.Null(),
    Type.Object({
      state: Type.Union([
        Type.Literal('OPERATION_FINISHED'),
        Type.Literal('OPERATION_FAILED'),
        Type.Literal('OPERATION_DROPPED'),
      ]),
      uuid: Type.String(),
      message: Type.Union([Type.String(), Type.Null()]),
      converted: Resources,
    }),
  ]),
});
export type StoredOperation = Static<typeof StoredOperation>;
export type TerminalStatus = NonNullable<StoredOperation['status']>;
export { Resources as ResourcesSchema };

const Uuid = Type.Object({ value: Type.String({ pattern: '^[A-Za-z0-9+/]{22}==$' }) });
const event = <Kind extends string, Body extends TSchema>(
  kind: Kind,
  key: string,
  body: Body,
): { readonly kind: Kind; readonly key: string; readonly check: (value: unknown) => value is Static<Body> } => {
  const validator = Compile(body);
  return { kind, key, check: (value): value is Static<Body> => validator.Check(value) };
};

const EVENTS = {
  subscribed: event('SUBSCRIBED', 'subscribed', Type.Object({ provider_id: Id })),
  apply: event(
    'APPLY_OPERATION',
    'apply_operation',
    Type.Object({
      framework_id: Type.Optional(Id),
      operation_uuid: Uuid,
      resource_version_uuid: Uuid,
      info: OperationInfo,
    }),
  ),
  acknowledge: event(
    'ACKNOWLEDGE_OPERATION_STATUS',
    'acknowledge_operation_status',
    Type.Object({ status_uuid: Uuid, operation_uuid: Uuid }),
  ),
  publish: event(
    'PUBLISH_RESOURCES',
    'publish_resources',
    Type.Object({ uuid: Uuid, resources: Type.Optional(Resources) }),
  ),
  reconcile: event(
    'RECONCILE_OPERATIONS',
    'reconcile_operations',
    Type.Object({ operation_uuids: Type.Optional(Type.Array(Uuid)) }),
  ),
} as const;

/** What the agent's resource provider manager sends on the stream. */
export type AgentMessage =
  | { readonly kind: 'subscribed'; readonly providerId: string }
  | {
      readonly kind: 'apply';
      readonly uuid: string;
      readonly frameworkId: string | null;
      readonly versionUuid: string;
      readonly info: OperationInfo;
    }
  | { readonly kind: 'acknowledge'; readonly operationUuid: string; readonly statusUuid: string }
  | { readonly kind: 'publish'; readonly uuid: string; readonly resources: readonly Resource[] }
  | { readonly kind: 'reconcile'; readonly uuids: readonly string[] }
  | { readonly kind: 'teardown' }
  | { readonly kind: 'unknown'; readonly what: string };

/** Reads one record of the stream. What it cannot read is `unknown`: a newer Mesos must not stop us. */
export function parseAgentMessage(text: string): AgentMessage {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { kind: 'unknown', what: 'a record that is no JSON' };
  }
  if (typeof value !== 'object' || value === null || !('type' in value)) {
    return { kind: 'unknown', what: 'a record without a type' };
  }
  const type = String(value.type);
  const body = (key: string): unknown => (value as unknown as Record<string, unknown>)[key];
  if (type === 'TEARDOWN') return { kind: 'teardown' };
  const { subscribed, apply, acknowledge, publish, reconcile } = EVENTS;
  const content = body(type.toLowerCase());
  if (type === subscribed.kind && subscribed.check(content)) {
    return { kind: 'subscribed', providerId: content.provider_id.value };
  }
  if (type === apply.kind && apply.check(content)) {
    return {
      kind: 'apply',
      uuid: content.operation_uuid.value,
      frameworkId: content.framework_id?.value ?? null,
      versionUuid: content.resource_version_uuid.value,
      info: content.info,
    };
  }
  if (type === acknowledge.kind && acknowledge.check(content)) {
    return {
      kind: 'acknowledge',
      operationUuid: content.operation_uuid.value,
      statusUuid: content.status_uuid.value,
    };
  }
  if (type === publish.kind && publish.check(content)) {
    return { kind: 'publish', uuid: content.uuid.value, resources: content.resources ?? [] };
  }
  if (type === reconcile.kind && reconcile.check(content)) {
    return { kind: 'reconcile', uuids: (content.operation_uuids ?? []).map(({ value: uuid }) => uuid) };
  }
  return { kind: 'unknown', what: `a ${type} that cannot be read` };
}

/** Base64 of a UUID's 16 bytes. */
export function uuidToBase64(uuid: string): string {
  return Buffer.from(uuid.replaceAll('-', ''), 'hex').toString('base64');
}

/** Text of a UUID, lower case with hyphens. */
export function uuidFromBase64(text: string): string {
  const hex = Buffer.from(text, 'base64').toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
