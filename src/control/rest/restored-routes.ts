import type { FastifyInstance } from 'fastify';
import { ErrorBody } from '../../api/errors.ts';
import { PATHS } from '../../api/paths.ts';
import { RestoredConfirmation, RestoredView } from '../../api/restored.ts';
import type { ControlService } from '../control-service.ts';
import { restoredView } from '../restored-view.ts';

/** What is in doubt since the records were replaced by an old copy, and how an operator ends that (additions). */
export function restoredRoutes(app: FastifyInstance, service: ControlService): void {
  app.get(
    PATHS.restored,
    {
      schema: {
        summary: 'What is in doubt since a backup was restored (addition)',
        response: { 200: RestoredView },
      },
    },
    async () => service.read(() => restoredView(service.deployment, service.cluster)),
  );
  app.post(
    `${PATHS.restored}/confirm`,
    {
      schema: {
        summary: 'Say that each node is connected, or off: what no node reported, no node has (addition)',
        description:
          'Datasets that no node has reported since the restore are again as the records say, except that no volume is ever made ' +
          'anew: one that is not found is lost. Changes nothing when nothing is in doubt.',
        response: { 200: RestoredConfirmation, '4xx': ErrorBody },
      },
    },
    async () => service.confirmRestored(),
  );
}
