import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:https';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { connect as connectTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ClusterCertificates, clusterCertificates } from '../../../test/support/cluster-certificates.ts';
import { COPIES_PATH } from '../../api/copy-channel.ts';
import { type DatasetId, newDatasetId } from '../../kit/ids.ts';
import { silentLogger } from '../../kit/logger.ts';
import { BackendError, type GivenCopy } from '../backends/backend.ts';
import { type CopyListener, giveCopies } from './give-copies.ts';
import { type OpenCopy, openCopy } from './open-copy.ts';

type Node = Awaited<ReturnType<ClusterCertificates['node']>>;

const record = { sizeBytes: 2 ** 26, profile: 'gold', name: 'Größe' };
const copy = randomUUID();
let certificates: ClusterCertificates;
let giver: Node;
let taker: Node;
let listener: CopyListener;
let give: Parameters<typeof giveCopies>[0]['give'];
let closed: number;
let datasetId: DatasetId;

beforeAll(async () => {
  certificates = await clusterCertificates('copies');
  [giver, taker] = [await certificates.node(), await certificates.node()];
});
afterAll(() => certificates.dispose());
beforeEach(async () => {
  closed = 0;
  datasetId = newDatasetId(randomUUID);
  listener = await giveCopies({
    ...{ tls: giver, host: '127.0.0.1', port: 0, logger: silentLogger },
    give: (...asked) => give(...asked),
  });
});
afterEach(() => listener.close());

const giftOf = (bytes: Readable, totalBytes: number | null = null): GivenCopy => ({
  ...{ record, totalBytes, against: null, along: null, bytes, close: () => Promise.resolve(void (closed += 1)) },
});
const open = (fields: Partial<Parameters<typeof openCopy>[0]> = {}): Promise<OpenCopy> =>
  openCopy({
    ...{ datasetId, copy, tls: taker, bases: undefined, onBytes: () => undefined, signal: AbortSignal.timeout(20_000) },
    from: { node: giver.nodeId, host: '127.0.0.1', port: listener.port },
    ...fields,
  });

describe('a copy between two nodes', () => {
  it('has all bytes, and what goes with them', async () => {
    const bytes = randomBytes(5_000_000);
    const asked: unknown[] = [];
    give = (...what) => {
      asked.push(what);
      return Promise.resolve(giftOf(Readable.from([bytes.subarray(0, 7), bytes.subarray(7)]), bytes.length));
    };
    const seen: number[] = [];
    const opened = await open({ onBytes: (count) => seen.push(count) });
    expect(opened.record).toEqual(record);
    expect(opened.totalBytes).toBe(bytes.length);
    expect((await buffer(opened.bytes)).equals(bytes)).toBe(true);
    expect(seen.at(-1)).toBe(bytes.length);
    expect(asked).toEqual([[datasetId, copy, taker.nodeId, undefined]]);
    await expect.poll(() => closed).toBe(1);
  });

  it('builds on what the node that fetches it has, and says so', async () => {
    const bases = { known: [randomUUID(), randomUUID()], keepsOne: true };
    const asked: unknown[] = [];
    const lineage = { against: bases.known[1] ?? null, along: randomUUID() };
    give = (...what) => {
      asked.push(what[3]);
      return Promise.resolve({ ...giftOf(Readable.from([Buffer.from('x')])), ...lineage });
    };
    const opened = await open({ bases });
    expect(opened).toMatchObject({ ...lineage, totalBytes: null });
    await buffer(opened.bytes);
    give = (...what) => {
      asked.push(what[3]);
      return Promise.resolve(giftOf(Readable.from([Buffer.from('x')])));
    };
    const none = { known: [], keepsOne: false };
    const all = await open({ bases: none });
    expect(all).toMatchObject({ against: null, along: null });
    await buffer(all.bytes);
    expect(asked).toEqual([bases, none]);
  });

  it('builds on nothing else', async () => {
    const bases = { known: [randomUUID()], keepsOne: false };
    for (const lineage of [{ against: randomUUID() }, { against: '../x' }, { along: randomUUID() }]) {
      give = () => Promise.resolve({ ...giftOf(Readable.from([Buffer.from('x')])), ...lineage });
      for (const asked of [bases, undefined])
        await expect(open({ bases: asked })).rejects.toMatchObject({
          code: 'backend_failed',
          message: expect.stringContaining('not asked for') as string,
        });
    }
    give = () => Promise.resolve({ ...giftOf(Readable.from([Buffer.from('x')])), along: 'x/../y' });
    await expect(open({ bases: { known: [], keepsOne: true } })).rejects.toThrow('not asked for');
  });

  it.each([
    ['what is no UUID', ['../../etc']],
    ['no end of them', Array.from({ length: 65 }, () => randomUUID())],
  ])('is not given to who names %s', async (_, known) => {
    give = () => Promise.reject(new Error('asked'));
    await expect(open({ bases: { known, keepsOne: true } })).rejects.toMatchObject({
      code: 'backend_failed',
      message: expect.stringContaining('which versions') as string,
    });
  });

  it('is none when it breaks off, on either side', async () => {
    give = () =>
      Promise.resolve(
        giftOf(
          Readable.from(
            (async function* () {
              yield randomBytes(100_000);
              await Promise.resolve();
              throw new Error('the disk broke');
            })(),
          ),
        ),
      );
    await expect(buffer((await open()).bytes)).rejects.toThrow();
    await expect.poll(() => closed).toBe(1);
    give = () => Promise.resolve(giftOf(Readable.from(endless())));
    const { bytes } = await open();
    await once(bytes, 'readable');
    bytes.destroy();
    await expect.poll(() => closed).toBe(2);
  });

  it('ends with the order to give it', async () => {
    const given = Readable.from(endless());
    give = () => Promise.resolve(giftOf(given));
    const taken = buffer((await open()).bytes);
    setImmediate(() => given.destroy(new Error('the copy is no longer wanted')));
    await expect(taken).rejects.toThrow();
    await expect.poll(() => closed).toBe(1);
  });

  it('is refused with what the other node says', async () => {
    give = () => Promise.resolve(undefined);
    await expect(open()).rejects.toMatchObject({
      code: 'in_progress',
      message: expect.stringContaining(datasetId) as string,
    });
    give = () => Promise.reject(new BackendError('volume_lost', 'it is not there'));
    await expect(open()).rejects.toMatchObject({
      code: 'volume_lost',
      message: expect.stringContaining('it is not there') as string,
    });
  });

  it('waits when many are given at once', async () => {
    give = () => Promise.resolve(giftOf(Readable.from(endless())));
    const opened = await Promise.all([1, 2, 3, 4].map(() => open()));
    await expect(open()).rejects.toMatchObject({
      code: 'in_progress',
      message: expect.stringContaining('4 other') as string,
    });
    for (const { bytes } of opened) bytes.destroy();
    await expect.poll(() => closed).toBe(4);
    await expect.poll(() => open().then(({ bytes }) => bytes.destroy().destroyed, String)).toBe(true);
  });

  it('comes from the node that was named, and from no other', async () => {
    give = () => Promise.resolve(giftOf(Readable.from([Buffer.from('x')])));
    const from = { node: taker.nodeId, host: '127.0.0.1', port: listener.port };
    await expect(open({ from })).rejects.toThrow(`its certificate is of node-${giver.nodeId}`);
    const plain = createTcpServer((socket) => socket.end('HTTP/1.1 200 OK\r\n\r\n'));
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
    const { port } = plain.address() as AddressInfo;
    await expect(open({ from: { node: giver.nodeId, host: '127.0.0.1', port } })).rejects.toMatchObject({
      code: 'in_progress',
    });
    plain.close();
  });

  it('goes to nodes of this cluster only', async () => {
    give = () => Promise.resolve(giftOf(Readable.from([Buffer.from('x')])));
    const stranger = await clusterCertificates('others');
    try {
      for (const tls of [await certificates.user('mallory'), await certificates.control(), await stranger.node()])
        await expect(open({ tls: { ...tls, ca: taker.ca } })).rejects.toMatchObject({ code: 'in_progress' });
      const bare = connectTls({
        host: '127.0.0.1',
        port: listener.port,
        ca: taker.ca,
        checkServerIdentity: () => undefined,
      });
      bare.on('secureConnect', () => bare.write(`GET ${COPIES_PATH}${datasetId}/${copy} HTTP/1.1\r\nhost: x\r\n\r\n`));
      let said = '';
      bare.on('data', (chunk: Buffer) => (said += chunk.toString()));
      bare.on('error', () => undefined);
      await new Promise((resolve) => bare.once('close', resolve));
      expect(said).toBe('');
      expect(closed).toBe(0);
    } finally {
      await stranger.dispose();
    }
  });

  it.each(['/', '/v1/copies/', '/v1/copies/../../etc/passwd', '/v1/copies/x/y', `/v1/agent`])(
    'is not what %s asks for',
    async (path) => {
      give = () => Promise.reject(new Error('asked'));
      const asked = request({
        ...taker,
        ...{ host: '127.0.0.1', port: listener.port, path, agent: false, checkServerIdentity: () => undefined },
      });
      asked.end();
      const [answer] = (await once(asked, 'response')) as [{ statusCode: number; resume(): void }];
      answer.resume();
      expect(answer.statusCode).toBe(404);
    },
  );
});

async function* endless(): AsyncGenerator<Buffer> {
  for (;;) {
    yield randomBytes(65_536);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
