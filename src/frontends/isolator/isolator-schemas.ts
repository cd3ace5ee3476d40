import { type Static, Type } from 'typebox';

/** A container id: `{"value": …, "parent": {…}}`, read by `parseContainerId`. */
const ContainerIdJson = Type.Object({ value: Type.String(), parent: Type.Optional(Type.Unknown()) });

/** What every call about one container has; more fields do no harm. */
export const ContainerCall = Type.Object({ container_id: ContainerIdJson });

const Variable = Type.Object({
  name: Type.String(),
  value: Type.Optional(Type.String()),
  type: Type.Optional(Type.String({ description: 'VALUE or SECRET' })),
});
export type Variable = Readonly<Static<typeof Variable>>;

const Named = Type.Object({ value: Type.String() });

/** Of Mesos's ContainerConfig what decides about volumes. */
export const ContainerConfig = Type.Object({
  container_class: Type.Optional(Type.String({ description: 'DEFAULT or DEBUG' })),
  user: Type.Optional(Type.String()),
  rootfs: Type.Optional(Type.String()),
  directory: Type.Optional(Type.String({ description: 'Sandbox on the host' })),
  command_info: Type.Optional(
    Type.Object({
      environment: Type.Optional(Type.Object({ variables: Type.Optional(Type.Array(Variable)) })),
    }),
  ),
  executor_info: Type.Optional(Type.Object({ framework_id: Type.Optional(Named), executor_id: Type.Optional(Named) })),
  task_info: Type.Optional(Type.Object({ task_id: Type.Optional(Named), name: Type.Optional(Type.String()) })),
  resources: Type.Optional(
    Type.Array(Type.Object({ allocation_info: Type.Optional(Type.Object({ role: Type.Optional(Type.String()) })) })),
  ),
});
export type ContainerConfig = Readonly<Static<typeof ContainerConfig>>;

/** Body of `POST /v1/isolator/prepare`. */
export const PrepareCall = Type.Object({
  container_id: ContainerIdJson,
  container_config: ContainerConfig,
  sandbox_directory: Type.Optional(Type.String({ pattern: '^/' })),
  /** How long the caller waits, milliseconds. */
  timeout_ms: Type.Optional(Type.Integer({ minimum: 1 })),
});

/** Body of `POST /v1/isolator/recover`. */
export const RecoverCall = Type.Object({
  states: Type.Optional(Type.Array(ContainerCall)),
  orphans: Type.Optional(Type.Array(ContainerIdJson)),
});

/** Answer to `prepare`: of Mesos's ContainerLaunchInfo what volumes need. */
export interface LaunchInfo {
  readonly clone_namespaces?: readonly number[];
  readonly mounts?: readonly { readonly source: string; readonly target: string; readonly flags: number }[];
}

/** Of Mesos's ResourceStatistics what volumes have. */
export interface UsageAnswer {
  /** Seconds since the epoch. */
  readonly timestamp: number;
  readonly disk_statistics: readonly DiskStatistics[];
}

export interface DiskStatistics {
  readonly persistence: { readonly id: string };
  readonly source: {
    readonly type: 'MOUNT';
    readonly mount: { readonly root: string };
    readonly id: string;
    readonly metadata: { readonly labels: readonly { readonly key: string; readonly value: string }[] };
  };
  readonly limit_bytes: number;
  readonly used_bytes: number;
}

/** Mesos's ContainerLimitation: the containerizer kills the container and shows the message. */
export interface Limitation {
  readonly message: string;
  readonly reason: 'REASON_CONTAINER_LIMITATION';
}
