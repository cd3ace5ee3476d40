import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { PeerCertificate } from 'node:tls';
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { COPIES_PATH, COPY_BYTES_HEADER, COPY_DIGEST_TRAILER, COPY_RECORD_HEADER } from '../../api/copy-channel.ts';
import type { TlsMaterial } from '../../kit/tls-guard.ts';
import { PROBLEM_CODES } from '../../model/volume-state.ts';
import { BackendError, type CopiedRecord, type CopyBases, type CopyLineage } from '../backends/backend.ts';
import { basesHeaders, lineageIn } from './copy-bases.ts';

/** A peer that sends nothing for so long is given up. */
const SILENCE_MS = 60_000;
const LONGEST_ANSWER_BYTES = 16 * 1024;

const Record = Compile(
  Type.Object({
    sizeBytes: Type.Integer({ minimum: 1 }),
    profile: Type.Union([Type.String({ maxLength: 256 }), Type.Null()]),
    name: Type.Union([Type.String(), Type.Null()]),
  }),
);
const Refusal = Type.Object({ code: Type.Enum([...PROBLEM_CODES]), message: Type.String() });
const refusal = Compile(Refusal);

export interface CopyRequest {
  readonly datasetId: string;
  readonly copy: string;
  readonly from: { readonly node: string; readonly host: string; readonly port: number };
  readonly tls: TlsMaterial;
  /** What the pool has of the volume; undefined to get all of it. */
  readonly bases: CopyBases | undefined;
  /** Told how many bytes have come. */
  readonly onBytes: (bytes: number) => void;
  readonly signal: AbortSignal;
}

export interface OpenCopy extends CopyLineage {
  readonly record: CopiedRecord;
  readonly totalBytes: number | null;
  /** Fails unless all came that was sent. */
  readonly bytes: Readable;
}

/** Begins to fetch a copy from another node. Fails with a {@link BackendError}: what that node said, or why it cannot be reached. */
export async function openCopy(wanted: CopyRequest): Promise<OpenCopy> {
  const { from, signal, onBytes } = wanted;
  const answer = await ask(wanted);
  if (answer.statusCode !== 200) throw await refused(answer, from.node, signal);
  const record = recordIn(answer);
  if (record === undefined) {
    answer.destroy();
    throw new BackendError(
      'backend_failed',
      `node ${from.node} sent a volume without saying what it is; update its agent`,
    );
  }
  const lineage = lineageIn(answer.headers, wanted.bases);
  if (lineage === undefined) {
    answer.destroy();
    const text = `node ${from.node} sent a volume that builds on what was not asked for; update its agent`;
    throw new BackendError('backend_failed', text);
  }
  const total = Number(answer.headers[COPY_BYTES_HEADER] ?? Number.NaN);
  const bytes = Readable.from(verified(answer, from.node, onBytes), { objectMode: false });
  // A generator that was never begun ends nothing.
  bytes.once('close', () => answer.destroy());
  return { record, totalBytes: Number.isSafeInteger(total) && total >= 0 ? total : null, ...lineage, bytes };
}

function ask({ datasetId, copy, from, tls, bases, signal }: CopyRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const asked = request({
      ...tls,
      host: from.host,
      port: from.port,
      path: `${COPIES_PATH}${datasetId}/${copy}`,
      headers: bases === undefined ? {} : basesHeaders(bases),
      agent: false,
      minVersion: 'TLSv1.2',
      timeout: SILENCE_MS,
      signal,
      checkServerIdentity: (_host: string, { subject }: PeerCertificate) => isNode(subject, from.node),
    });
    asked.once('timeout', () => asked.destroy(new Error(`silent for ${SILENCE_MS / 1000} s`)));
    asked.once('response', resolve);
    asked.once('error', (error) => {
      const where = `node ${from.node} at ${from.host} port ${from.port}`;
      const code = 'in_progress';
      reject(signal.aborted ? error : new BackendError(code, `cannot copy from ${where}: ${error.message}`));
    });
    asked.end();
  });
}

/** Certificates of nodes name no host: it is the node that counts, wherever it is. */
function isNode(subject: PeerCertificate['subject'] | undefined, node: string): Error | undefined {
  if (subject?.CN === `node-${node}`) return undefined;
  return new Error(`its certificate is of ${String(subject?.CN ?? 'nobody')}`);
}

async function* verified(
  answer: IncomingMessage,
  node: string,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  const digest = createHash('sha256');
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    digest.update(chunk);
    bytes += chunk.length;
    onBytes(bytes);
    yield chunk;
  }
  if (answer.complete && answer.trailers[COPY_DIGEST_TRAILER] === digest.digest('hex')) return;
  throw new BackendError('in_progress', `the copy from node ${node} broke off after ${bytes} bytes; it begins anew`);
}

async function refused(answer: IncomingMessage, node: string, signal: AbortSignal): Promise<Error> {
  const said = await text(Readable.from(bounded(answer), { objectMode: false, signal })).catch(() => '');
  let parsed: unknown;
  try {
    parsed = JSON.parse(said);
  } catch {
    parsed = undefined;
  }
  const problem: Static<typeof Refusal> | undefined = refusal.Check(parsed) ? parsed : undefined;
  return new BackendError(
    problem?.code ?? 'backend_failed',
    `node ${node} does not give the copy: ${problem?.message ?? `it answered ${answer.statusCode}`}`,
  );
}

async function* bounded(answer: IncomingMessage): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > LONGEST_ANSWER_BYTES) return;
    yield chunk;
  }
}

function recordIn({ headers }: IncomingMessage): CopiedRecord | undefined {
  const header = headers[COPY_RECORD_HEADER];
  if (typeof header !== 'string') return undefined;
  try {
    const parsed: unknown = JSON.parse(Buffer.from(header, 'base64url').toString());
    return Record.Check(parsed) ? parsed : undefined;
  } catch {
    return undefined;
  }
}
