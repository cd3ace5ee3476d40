import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { DESCRIPTIONS, type ErrorBody } from '../../api/errors.ts';
import type { Logger } from '../../kit/logger.ts';

/** Makes fastify answer as the contract says: content type, escaping, and the bodies of 400, 404, 405 and 5xx. */
export function replyByContract(app: FastifyInstance, logger: Logger): void {
  app.removeAllContentTypeParsers();
  // The body is JSON whatever its content type says, and only POST has one (contract 1.1).
  app.addHook('onRequest', (request, reply, done) => {
    // fastify refuses types that are no media types before any parser sees the body.
    request.raw.headers['content-type'] = 'application/json';
    // An empty last part matches a parameter, and no path of the API ends so; that of a page may.
    if (!request.is404 && pathOf(request).endsWith('/') && request.routeOptions.url?.endsWith('/') !== true)
      reply.callNotFound();
    else done();
  });
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (request, body, done) => {
    if (!hasBody(request)) {
      done(null, undefined);
      return;
    }
    let text: string;
    let json: unknown;
    try {
      text = utf8.decode(Buffer.from(body));
      json = JSON.parse(text);
    } catch {
      done(new UndecodableBody());
      return;
    }
    if (FLOAT_SIZE.test(text)) done(new BadSchema(['/maximum_size must be written as an integer']));
    else done(null, json);
  });
  app.addHook('preValidation', (request, _reply, done) => {
    if (hasBody(request) && request.body === undefined) done(new UndecodableBody());
    else done();
  });
  app.setSerializerCompiler(() => (body) => JSON.stringify(body));
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (typeof payload !== 'string' || !String(reply.getHeader('content-type')).includes('json')) {
      done(null, payload);
      return;
    }
    reply.header('content-type', 'application/json');
    done(null, escapeNonAscii(payload));
  });
  app.setErrorHandler((error: FastifyError, request, reply) => answerError(error, request, reply, logger));

  const methodsByPath = new Map<string, Set<string>>();
  app.addHook('onRoute', (route) => {
    const methods = methodsByPath.get(route.url) ?? new Set<string>();
    for (const method of [route.method].flat()) methods.add(method);
    methodsByPath.set(route.url, methods);
  });
  app.setNotFoundHandler((request, reply) => {
    const path = pathOf(request);
    const methods = methodsFor(path, methodsByPath);
    if (methods.length === 0) return reply.code(404).send({ description: `There is nothing at ${path}.` });
    // The original parses the empty body of a HEAD request and fails (contract 1.1).
    if (request.method === 'HEAD' && methods.includes('GET')) {
      return reply.code(400).header('content-type', 'application/json').send();
    }
    const allow = methods.join(', ');
    return reply
      .code(405)
      .header('allow', allow)
      .send({ description: `The methods of ${path} are: ${allow}.` });
  });
}

/** Answers a request whose path cannot be decoded, which is no path of the API. Hooks do not see it. */
export function answerUnroutable(_error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  const body = JSON.stringify({ description: `There is nothing at ${pathOf(request)}.` });
  reply.hijack();
  reply.raw.writeHead(404, { 'content-type': 'application/json' }).end(escapeNonAscii(body));
}

/** Whether the body is looked at: routing comes first, and no other method has one (contract 1.1). */
function hasBody(request: FastifyRequest): boolean {
  return request.method === 'POST' && !request.is404;
}

function pathOf(request: FastifyRequest): string {
  return request.url.split('?')[0] ?? '';
}

/** The original refused bytes that are no UTF-8, and a byte order mark. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

class UndecodableBody extends Error {
  readonly statusCode = 400;
  constructor() {
    super(DESCRIPTIONS.undecodable);
  }
}

class BadSchema extends Error {
  readonly statusCode = 400;
  readonly errors: readonly string[];
  constructor(errors: readonly string[]) {
    super(DESCRIPTIONS.schema);
    this.errors = errors;
  }
}

/** `67108864.0` is no integer to the original (contract 1.3), and no longer to be told from one once it is parsed. */
const FLOAT_SIZE = /"maximum_size"\s*:\s*-?\d+[.eE]/;

function answerError(error: FastifyError, request: FastifyRequest, reply: FastifyReply, logger: Logger): unknown {
  if (error.validation !== undefined) {
    const errors = error.validation.map(({ instancePath, message, params }) =>
      [instancePath, message, extraProperty(params)].filter((part) => part !== '' && part !== undefined).join(' '),
    );
    const body: ErrorBody = { description: DESCRIPTIONS.schema, errors };
    return reply.code(400).send(body);
  }
  if (error instanceof BadSchema) return reply.code(400).send({ description: error.message, errors: error.errors });
  const status = error.statusCode ?? 500;
  if (status >= 400 && status < 500) return reply.code(status).send({ description: error.message });
  logger.error({ err: error, method: request.method, url: request.url }, 'request failed');
  return reply.code(500).send({ description: 'The control service failed to answer; its log says why.' });
}

function extraProperty(params: Record<string, unknown> | undefined): string | undefined {
  const name = params?.['additionalProperty'];
  return typeof name === 'string' ? `('${name}' was unexpected)` : undefined;
}

function methodsFor(path: string, methodsByPath: ReadonlyMap<string, ReadonlySet<string>>): string[] {
  const parts = path.split('/');
  const methods = new Set<string>();
  for (const [pattern, allowed] of methodsByPath) {
    const wanted = pattern.split('/');
    const same =
      wanted.length === parts.length &&
      wanted.every((part, i) => (part.startsWith(':') ? parts[i] !== '' : part === parts[i]));
    if (same) for (const method of allowed) methods.add(method);
  }
  return [...methods].sort();
}

/** JSON with everything outside ASCII as \u escapes, as the original wrote it. */
export function escapeNonAscii(json: string): string {
  return json.replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
