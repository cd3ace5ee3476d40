import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { TLSSocket } from 'node:tls';
import { COPIES_PATH, COPY_BYTES_HEADER, COPY_DIGEST_TRAILER, COPY_RECORD_HEADER } from '../../api/copy-channel.ts';
import { errorText } from '../../kit/coded-error.ts';
import { type DatasetId, type NodeId, parseDatasetId, parseNodeId } from '../../kit/ids.ts';
import type { Logger } from '../../kit/logger.ts';
import { admitOnly, mutualTls, peerName, type TlsMaterial } from '../../kit/tls-guard.ts';
import { BackendError, type CopyBases, type GivenCopy } from '../backends/backend.ts';
import { basesIn, lineageHeaders } from './copy-bases.ts';

/** Copies that are read at once; who comes then is told to come again. */
const AT_ONCE = 4;
/** A peer that takes nothing for so long is given up. */
const SILENCE_MS = 60_000;
const LONGEST_TEXT = 1000;

export interface GiveCopiesOptions {
  readonly tls: TlsMaterial;
  /** Address to listen on; undefined for all. */
  readonly host: string | undefined;
  /** 0 chooses a free port. */
  readonly port: number;
  /** Begins a copy for a node; undefined when it was not told to give that one to it. */
  readonly give: (
    datasetId: DatasetId,
    copy: string,
    to: NodeId,
    bases: CopyBases | undefined,
  ) => Promise<GivenCopy | undefined>;
  readonly logger: Logger;
}

/** Where copies are given. */
export interface CopyListener {
  readonly port: number;
  close(): Promise<void>;
}

/** Lets other nodes fetch copies of volumes. A node is the one in its certificate, whatever it asks for. */
export async function giveCopies(options: GiveCopiesOptions): Promise<CopyListener> {
  let underWay = 0;
  const server = createServer(mutualTls(options.tls), (request, response) => {
    if (underWay >= AT_ONCE) {
      refuse(response, 503, { code: 'in_progress', message: `${AT_ONCE} other copies are being read on this node.` });
      return;
    }
    underWay += 1;
    void answer(request, response, options).finally(() => {
      underWay -= 1;
    });
  });
  server.requestTimeout = SILENCE_MS;
  server.setTimeout(SILENCE_MS, (socket) => socket.destroy());
  server.maxHeadersCount = 50;
  admitOnly(server, 'node-', options.logger);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(request: IncomingMessage, response: ServerResponse, options: GiveCopiesOptions): Promise<void> {
  const { give, logger } = options;
  const [dataset = '', copy = ''] = (request.url ?? '').slice(COPIES_PATH.length).split('/');
  const datasetId = parseDatasetId(dataset);
  const name = peerName(request.socket as TLSSocket);
  const to = name === undefined ? undefined : parseNodeId(name.slice('node-'.length));
  const isKnown = request.method === 'GET' && request.url?.startsWith(COPIES_PATH) === true;
  if (!isKnown || datasetId === undefined || to === undefined) {
    refuse(response, 404, { code: 'in_progress', message: 'This port is for copies of volumes.' });
    return;
  }
  const bases = basesIn(request.headers);
  if (bases === 'malformed') {
    const message = `Node ${to} does not say which versions of volume ${datasetId} it has in a way that this agent understands.`;
    refuse(response, 400, { code: 'backend_failed', message });
    return;
  }
  let gift: GivenCopy | undefined;
  try {
    gift = await give(datasetId, copy, to, bases);
    if (gift === undefined) {
      // Orders reach two nodes one after the other.
      const message = `The node that has volume ${datasetId} has not been told yet to give this copy of it.`;
      refuse(response, 404, { code: 'in_progress', message });
      return;
    }
    await send(response, gift);
    const { against, along } = gift;
    logger.info({ dataset: datasetId, to, against, along }, 'copy given');
  } catch (error) {
    logger.warn({ dataset: datasetId, to, reason: errorText(error) }, 'copy not given');
    if (response.headersSent) response.destroy();
    else {
      const code = error instanceof BackendError ? error.code : 'backend_failed';
      refuse(response, 500, { code, message: errorText(error) });
    }
  } finally {
    await gift?.close().catch((error: unknown) => {
      logger.warn(
        { dataset: datasetId, reason: errorText(error) },
        'what a copy was read from is removed at the next start',
      );
    });
  }
}

async function send(response: ServerResponse, copy: GivenCopy): Promise<void> {
  const digest = createHash('sha256');
  response.writeHead(200, {
    'content-type': 'application/octet-stream',
    [COPY_RECORD_HEADER]: Buffer.from(JSON.stringify(copy.record)).toString('base64url'),
    ...(copy.totalBytes === null ? {} : { [COPY_BYTES_HEADER]: String(copy.totalBytes) }),
    ...lineageHeaders(copy),
    trailer: COPY_DIGEST_TRAILER,
  });
  await pipeline(
    copy.bytes,
    async function* withDigest(chunks: Readable) {
      for await (const chunk of chunks as AsyncIterable<Buffer>) {
        digest.update(chunk);
        yield chunk;
      }
      // Only now is it known that nothing is missing.
      response.addTrailers({ [COPY_DIGEST_TRAILER]: digest.digest('hex') });
    },
    response,
  );
}

function refuse(response: ServerResponse, status: number, { code, message }: { code: string; message: string }): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ code, message: message.slice(0, LONGEST_TEXT) }));
}
