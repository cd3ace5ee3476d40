import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { ErrorBody } from '../../api/errors.ts';
import { NodeDeathView } from '../../api/nodes.ts';
import { PATHS } from '../../api/paths.ts';
import type { ControlService } from '../control-service.ts';

/** What operators say of nodes (additions). */
export function nodeRoutes(app: FastifyInstance, service: ControlService): void {
  app.post<{ Params: { uuid: string } }>(
    `${PATHS.nodes}/:uuid/declare-dead`,
    {
      schema: {
        summary: 'Say that a node is off or cut off from the storage: others may have its volumes (addition)',
        description:
          'Ends its leases and lets its volumes be mounted by other nodes of their pool. The node gets nothing until its agent ' +
          'has come back and let go of everything. Repeating it answers 200 and changes nothing. 409 while the node is connected.',
        params: Type.Object({ uuid: Type.String() }),
        response: { 200: NodeDeathView, '4xx': ErrorBody },
      },
    },
    async (request, reply) => {
      const { status, body } = await service.declareDead(request.params.uuid);
      return reply.code(status).send(body);
    },
  );
}
