import { create, type DescService, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf';
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { Controller, Identity, Node } from '../generated/csi_pb.ts';
import { definitionOf } from '../grpc-service.ts';

/** One async method for each call of a service. Fails with grpc-js's error: `code` is the number of the status. */
type Calls<Service extends DescService> = {
  readonly [Name in keyof Service['method']]: (
    request: MessageInitShape<Service['method'][Name]['input']>,
    timeoutMs?: number,
  ) => Promise<MessageShape<Service['method'][Name]['output']>>;
};

/** A caller of the plugin, over its unix socket. */
export interface CsiClient {
  readonly identity: Calls<typeof Identity>;
  readonly controller: Calls<typeof Controller>;
  readonly node: Calls<typeof Node>;
  close(): void;
}

const TIMEOUT_MS = 60_000;

export function csiClient(socketPath: string): CsiClient {
  // Else the path would be sent as the authority, which Node's http2 refuses.
  const channel = { 'grpc.default_authority': 'localhost', 'grpc.initial_reconnect_backoff_ms': 100 };
  const client = new Client(`unix://${socketPath}`, credentials.createInsecure(), channel);
  return {
    identity: callsOf(client, Identity),
    controller: callsOf(client, Controller),
    node: callsOf(client, Node),
    close: () => client.close(),
  };
}

function callsOf<Service extends DescService>(client: Client, service: Service): Calls<Service> {
  const definition = definitionOf(service);
  const calls: Record<string, (request: object, timeoutMs?: number) => Promise<unknown>> = {};
  for (const { name, localName, input } of service.methods) {
    const method = definition[name];
    if (method === undefined) continue;
    calls[localName] = (request, timeoutMs = TIMEOUT_MS) =>
      new Promise((resolve, reject) => {
        const message: unknown = create(input, request as Record<string, unknown>);
        const done = (error: ServiceError | null, answer?: unknown): void => {
          if (error === null) resolve(answer);
          else reject(error);
        };
        const { path, requestSerialize, responseDeserialize } = method;
        const deadline = { deadline: Date.now() + timeoutMs };
        client.makeUnaryRequest(path, requestSerialize, responseDeserialize, message, new Metadata(), deadline, done);
      });
  }
  return calls as Calls<Service>;
}
