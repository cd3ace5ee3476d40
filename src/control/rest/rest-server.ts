import type { AddressInfo } from 'node:net';
import type { Server } from 'node:tls';
import swagger from '@fastify/swagger';
import fastify, { type FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { PATHS } from '../../api/paths.ts';
import type { Clock } from '../../kit/clock.ts';
import type { Logger } from '../../kit/logger.ts';
import { admitOnly, limitConnections, mutualTls, type TlsMaterial } from '../../kit/tls-guard.ts';
import type { ControlService } from '../control-service.ts';
import { configurationRoutes } from './configuration-routes.ts';
import { answerUnroutable, replyByContract } from './contract-replies.ts';
import { dashboardRoutes, readDashboard } from './dashboard-routes.ts';
import { eventsRoute } from './events-route.ts';
import { refuseForeignPages } from './foreign-pages.ts';
import { controlMetrics } from './metrics.ts';
import { nodeRoutes } from './node-routes.ts';
import { restoredRoutes } from './restored-routes.ts';
import { snapshotRoutes } from './snapshot-routes.ts';
import { stateRoutes } from './state-routes.ts';

const LONGEST_BODY_BYTES = 2 ** 20;
const REQUEST_TIMEOUT_MS = 30_000;
/** As long as node takes a request line: a long id in a path is an unknown id, not another error. */
const LONGEST_PATH_PART = 16 * 2 ** 10;

/** A listener that accepts connections. */
export interface Listener {
  readonly port: number;
  close(): Promise<void>;
}

export interface RestServerOptions {
  readonly service: ControlService;
  readonly tls: TlsMaterial;
  readonly host: string;
  /** 0 chooses a free port. */
  readonly port: number;
  /** Connections at once; unlimited unless given. */
  readonly mostConnections?: number;
  /** The built dashboard; without it there is none. */
  readonly dashboardDirectory?: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Serves the REST API over mutual TLS. Rejects when the address cannot be bound. */
export async function serveRest(options: RestServerOptions): Promise<Listener> {
  const { logger } = options;
  const app = await buildRestApp(options);
  const server = app.server as unknown as Server;
  admitOnly(server, 'user-', logger);
  if (options.mostConnections !== undefined) limitConnections(server, options.mostConnections, logger);
  await app.listen({ host: options.host, port: options.port });
  const { port } = app.server.address() as AddressInfo;
  return {
    port,
    close: async () => {
      const closed = app.close();
      app.server.closeAllConnections();
      await closed;
    },
  };
}

/** The REST API without a listener. */
export async function buildRestApp(options: RestServerOptions): Promise<FastifyInstance> {
  const { service, clock, logger } = options;
  const app = fastify({
    https: mutualTls(options.tls),
    // Flocker refuses what does not fit; fastify would drop and convert it.
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, allErrors: true, allowUnionTypes: true } },
    bodyLimit: LONGEST_BODY_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    exposeHeadRoutes: false,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: LONGEST_PATH_PART },
    frameworkErrors: answerUnroutable,
  }) as unknown as FastifyInstance;
  const metrics = controlMetrics(service);
  replyByContract(app, logger);
  refuseForeignPages(app);
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'none';
    metrics.observeRequest(request.method, route, reply.statusCode, reply.elapsedTime / 1000);
    done();
  });
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Flocker Control Service',
        version: '1',
        description: 'Flocker REST API v1, and additions that are marked as such.',
      },
    },
  });
  const { dashboardDirectory } = options;
  const dashboard = dashboardDirectory === undefined ? undefined : await readDashboard(dashboardDirectory);
  await app.register((scope, _options, done) => {
    if (dashboard !== undefined) dashboardRoutes(scope, dashboard);
    configurationRoutes(scope, service, clock);
    snapshotRoutes(scope, service);
    nodeRoutes(scope, service);
    restoredRoutes(scope, service);
    stateRoutes(scope, service, clock);
    eventsRoute(scope, service, clock);
    scope.get(
      PATHS.openapi,
      {
        schema: {
          summary: 'This document (addition)',
          response: { 200: { type: 'object', description: 'OpenAPI 3.1', additionalProperties: true } },
        },
      },
      () => Promise.resolve(app.swagger()),
    );
    scope.get(
      PATHS.health,
      {
        schema: {
          summary: 'Whether the service works (addition)',
          response: { 200: Type.Object({ status: Type.String() }) },
        },
      },
      async () => service.read(() => ({ status: 'ok' })),
    );
    scope.get(
      PATHS.metrics,
      {
        schema: {
          summary: 'Prometheus metrics (addition)',
          response: {
            200: { description: 'Prometheus text format', content: { 'text/plain': { schema: { type: 'string' } } } },
          },
        },
      },
      async (_request, reply) => reply.type(metrics.contentType).send(await metrics.page()),
    );
    done();
  });
  return app;
}
