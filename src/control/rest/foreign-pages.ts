import type { FastifyInstance, FastifyRequest } from 'fastify';

/**
 * Refuses changes that a page of another site makes in a browser which has a certificate of this cluster: the browser would send it
 * along. Programs that are no browsers send neither header (Fetch standard, `Origin` and `Sec-Fetch-Site`).
 */
export function refuseForeignPages(app: FastifyInstance): void {
  app.addHook('onRequest', async (request, reply) => {
    if (request.method === 'GET' || request.method === 'HEAD' || !isForeign(request)) return;
    await reply.code(403).send({ description: 'A page of another site must not change anything here.' });
  });
}

function isForeign({ headers }: FastifyRequest): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return true;
  const { origin } = headers;
  return origin !== undefined && origin !== `https://${headers.host ?? ''}`;
}
