import { readdir, readFile } from 'node:fs/promises';
import { extname, join, relative } from 'node:path';
import type { FastifyInstance, FastifyReply } from 'fastify';

const PREFIX = '/dashboard/';
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};
/** Nothing from elsewhere is loaded, nothing is sent elsewhere, and no other page may show this one in a frame. */
const PAGE_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; " +
    "form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
};

interface PageFile {
  readonly type: string;
  readonly body: Buffer;
}

/** The files of the built dashboard by their paths below `/dashboard/`. Rejects when the directory cannot be read. */
export async function readDashboard(directory: string): Promise<ReadonlyMap<string, PageFile>> {
  const files = new Map<string, PageFile>();
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const type = TYPES[extname(entry.name)];
    if (!entry.isFile() || type === undefined) continue;
    const path = join(entry.parentPath, entry.name);
    files.set(relative(directory, path), { type, body: await readFile(path) });
  }
  return files;
}

/** Serves the dashboard (addition): whatever has a hash in its name never changes, the page itself is asked for anew. */
export function dashboardRoutes(app: FastifyInstance, files: ReadonlyMap<string, PageFile>): void {
  const send = (reply: FastifyReply, name: string): FastifyReply => {
    const file = files.get(name);
    if (file === undefined) return reply.code(404).send({ description: `There is nothing at ${PREFIX}${name}.` });
    const caching = name.startsWith('assets/') ? 'public, max-age=31536000, immutable' : 'no-cache';
    return reply.headers({ ...PAGE_HEADERS, 'cache-control': caching, 'content-type': file.type }).send(file.body);
  };
  const schema = { hide: true };
  app.get('/dashboard', { schema }, (_request, reply) => reply.redirect(PREFIX, 308));
  app.get(PREFIX, { schema }, (_request, reply) => send(reply, 'index.html'));
  app.get<{ Params: { '*': string } }>(`${PREFIX}*`, { schema }, ({ params }, reply) => send(reply, params['*']));
}
