import {
  create,
  type DescMethod,
  type DescService,
  fromBinary,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import type { handleUnaryCall, ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import { type CallRunner, statusOf } from './run-call.ts';

/** One async method for each rpc of a service. */
export type Handlers<Service extends DescService> = {
  readonly [Name in keyof Service['method']]: (
    request: MessageShape<Service['method'][Name]['input']>,
    signal: AbortSignal,
  ) => Promise<MessageInitShape<Service['method'][Name]['output']>>;
};

type Handler = (request: unknown, signal: AbortSignal) => Promise<object>;

/** A service of protobuf-es as grpc-js takes it. */
export function grpcService<Service extends DescService>(
  service: Service,
  handlers: Handlers<Service>,
  runner: CallRunner,
): { readonly definition: ServiceDefinition; readonly implementation: UntypedServiceImplementation } {
  const implementation: UntypedServiceImplementation = {};
  const untyped = handlers as unknown as Readonly<Record<string, Handler>>;
  for (const method of service.methods) {
    const handler = untyped[method.localName];
    if (handler !== undefined) implementation[method.name] = unary(method, handler.bind(handlers), runner);
  }
  return { definition: definitionOf(service), implementation };
}

/** The calls of a service, for either end. */
export function definitionOf(service: DescService): ServiceDefinition {
  return Object.fromEntries(
    service.methods.map(({ name, input, output }) => [
      name,
      {
        path: `/${service.typeName}/${name}`,
        requestStream: false,
        responseStream: false,
        requestSerialize: (message: unknown) => Buffer.from(toBinary(input, message as Message)),
        requestDeserialize: (bytes: Buffer) => fromBinary(input, bytes),
        responseSerialize: (message: unknown) => Buffer.from(toBinary(output, message as Message)),
        responseDeserialize: (bytes: Buffer) => fromBinary(output, bytes),
      },
    ]),
  );
}

function unary(method: DescMethod, handler: Handler, runner: CallRunner): handleUnaryCall<unknown, unknown> {
  return (call, callback) => {
    const cancelled = new AbortController();
    call.once('cancelled', () => cancelled.abort(new Error('the caller has gone away')));
    const due = call.getDeadline();
    const dueMs = due instanceof Date ? due.getTime() : due;
    const work = (signal: AbortSignal): Promise<object> => handler(call.request, signal);
    runner.run({ name: method.name, request: call.request as object, dueMs }, cancelled.signal, work).then(
      (answer) => callback(null, create(method.output, answer as Record<string, unknown>)),
      (error: unknown) => callback(statusOf(error)),
    );
  };
}
