import { type Static, Type } from 'typebox';

/** A node that reports (contract 1.5). */
export const NodeState = Type.Object({ uuid: Type.String(), host: Type.String() });
export type NodeState = Static<typeof NodeState>;

/** Answer of `GET /v1/state/nodes/by_era/<era>`. */
export const NodeByEra = Type.Object({ uuid: Type.String() });
export type NodeByEra = Static<typeof NodeByEra>;

/** An agent of Mesos that runs on the machine of a node, or did. */
const MesosAgentView = Type.Object({
  id: Type.String(),
  hostname: Type.String(),
  also_fits: Type.Optional(
    Type.Array(Type.String(), { description: 'Other nodes that it fits: then it counts for none' }),
  ),
});
export type MesosAgentView = Static<typeof MesosAgentView>;

/** An addition: what the control service knows of a node. Times are ISO 8601 in UTC. */
export const NodeInspection = Type.Object({
  uuid: Type.String(),
  host: Type.String(),
  connected: Type.Boolean(),
  last_heard: Type.String(),
  era: Type.String(),
  version: Type.String(),
  backend: Type.String(),
  pool: Type.String({ description: 'Nodes with the same pool reach the same volumes' }),
  profiles: Type.Array(Type.String()),
  declared_dead: Type.Optional(
    Type.String({ description: 'When it was declared dead; absent when it was not, or has come back since' }),
  ),
  mesos_agents: Type.Optional(
    Type.Array(MesosAgentView, { description: 'Present where the control service listens to a Mesos master' }),
  ),
});
export type NodeInspection = Static<typeof NodeInspection>;

/** Answer of `POST /v1/nodes/<uuid>/declare-dead`, an addition. */
export const NodeDeathView = Type.Object({
  uuid: Type.String(),
  declared_dead: Type.String({ description: 'ISO 8601 in UTC' }),
  datasets: Type.Array(Type.String(), { description: 'Datasets that were taken from it and may be mounted elsewhere' }),
  leases: Type.Array(Type.String(), { description: 'Leases of it that ended' }),
});
export type NodeDeathView = Static<typeof NodeDeathView>;
