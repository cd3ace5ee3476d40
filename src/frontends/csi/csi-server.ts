import type { Socket } from 'node:net';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { controllerService } from './controller.ts';
import type { CsiWorld } from './csi-world.ts';
import { Controller, Identity, Node } from './generated/csi_pb.ts';
import { grpcService } from './grpc-service.ts';
import { identityService } from './identity.ts';
import { nodeService } from './node.ts';
import { CallRunner } from './run-call.ts';
import { Stages } from './stages.ts';

/** The three services over connections that somebody else has accepted. */
export interface CsiServer {
  accept(connection: Socket): void;
  /** Lets calls end that are under way. */
  close(): Promise<void>;
}

const CLOSE_MS = 3_000;

/** This file and all that it needs are loaded with the first connection: an agent that nobody asks for CSI stays small. */
export function startCsiServer(world: CsiWorld): CsiServer {
  const server = new Server({ 'grpc.max_receive_message_length': 1 << 20, 'grpc.enable_channelz': 0 });
  const runner = new CallRunner(world.clock, world.logger.child({ frontend: 'csi' }));
  const stages = new Stages(world);
  for (const { definition, implementation } of [
    grpcService(Identity, identityService(world), runner),
    grpcService(Controller, controllerService(world), runner),
    grpcService(Node, nodeService(world, stages), runner),
  ])
    server.addService(definition, implementation);
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  return {
    accept: (connection) => injector.injectConnection(connection),
    close: async () => {
      await new Promise<void>((resolve) => {
        const cancel = world.clock.timer(CLOSE_MS, () => {
          server.forceShutdown();
          resolve();
        });
        server.tryShutdown(() => {
          cancel();
          resolve();
        });
      });
      await stages.idle();
    },
  };
}
