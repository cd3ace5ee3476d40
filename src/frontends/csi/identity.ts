import { withDeadline } from '../../kit/deadline.ts';
import type { CsiWorld } from './csi-world.ts';
import {
  PluginCapability_VolumeExpansion_Type as Expansion,
  type Identity,
  PluginCapability_Service_Type as ServiceType,
} from './generated/csi_pb.ts';
import type { Handlers } from './grpc-service.ts';

export const PLUGIN_NAME = 'io.flocker.csi';

/** The service that says who we are. */
export function identityService(world: CsiWorld): Handlers<typeof Identity> {
  const { version, growsOnline } = world;
  const ready = readiness(world);
  const service = (type: ServiceType) => ({ type: { case: 'service' as const, value: { type } } });
  const expansion = (type: Expansion) => ({ type: { case: 'volumeExpansion' as const, value: { type } } });
  return {
    getPluginInfo: () => Promise.resolve({ name: PLUGIN_NAME, vendorVersion: version }),
    getPluginCapabilities: () =>
      Promise.resolve({
        capabilities: [
          service(ServiceType.CONTROLLER_SERVICE),
          service(ServiceType.VOLUME_ACCESSIBILITY_CONSTRAINTS),
          expansion(growsOnline ? Expansion.ONLINE : Expansion.OFFLINE),
        ],
      }),
    probe: async () => ({ ready: await ready() }),
  };
}

/** An answer of the control service says for this long that it is there, milliseconds. */
const FRESH_MS = 1_000;
const ASK_TIMEOUT_MS = 2_000;

/** Whether the control service answers; asked at most once a second, however often a caller probes. */
function readiness({ client, clock }: CsiWorld): () => Promise<boolean> {
  let asked: { readonly atMs: number; readonly answer: Promise<boolean> } | undefined;
  const ask = (): Promise<boolean> =>
    withDeadline(clock, ASK_TIMEOUT_MS, 'the control service', undefined, (signal) => client.version(signal)).then(
      () => true,
      () => false,
    );
  return () => {
    const nowMs = clock.monotonicMs();
    if (asked === undefined || nowMs - asked.atMs > FRESH_MS) asked = { atMs: nowMs, answer: ask() };
    return asked.answer;
  };
}
