import type { ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseDatasetId, parseNodeId } from '../kit/ids.ts';
import type { FlockerClient } from './flocker-client.ts';
import { errorLike } from './testing/error-like.ts';
import {
  html404,
  listen,
  type Routes,
  sendJson,
  type TestCluster,
  type TestListener,
  testClient,
  testCluster,
} from './testing/https-listener.ts';

const undo: (() => Promise<void>)[] = [];
const version = (_: unknown, response: ServerResponse): void => sendJson(response, 200, { flocker: '1' });
const node = parseNodeId('11111111-1111-4111-8111-111111111111');
const id = parseDatasetId('22222222-2222-4222-8222-222222222222');
if (node === undefined || id === undefined) throw new Error('no ids');
const soon = (): AbortSignal => AbortSignal.timeout(20_000);
const create = (client: FlockerClient): Promise<unknown> =>
  client.createDataset({ primary: node, metadata: {} }, { kind: 'none' }, soon());
let cluster: TestCluster;

beforeAll(async () => {
  cluster = await testCluster();
});
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

async function serve(routes: Routes, port?: number): Promise<TestListener> {
  const server = await listen(cluster.control, routes, port === undefined ? {} : { port });
  undo.push(() => server.close());
  return server;
}

function connect(urls: readonly string[], requestTimeoutMs = 5_000, takeoverTimeoutMs?: number): FlockerClient {
  const waits = takeoverTimeoutMs === undefined ? {} : { takeoverTimeoutMs };
  const client = testClient(urls, cluster.user, { requestTimeoutMs, ...waits });
  undo.push(() => client.close());
  return client;
}

/** A port where nobody listens. */
async function deadUrl(): Promise<string> {
  const server = await listen(cluster.control, {});
  await server.close();
  return server.url;
}

describe('a server that cannot be reached', () => {
  it('is named, with what to check', async () => {
    const url = await deadUrl();
    const failure = connect([url]).version(soon());
    await expect(failure).rejects.toMatchObject(errorLike('unreachable', url));
    await expect(failure).rejects.toThrow(/connection refused; check/);
    const unknown = connect(['https://no-such-host.invalid:4523']).version(soon());
    await expect(unknown).rejects.toMatchObject(errorLike('unreachable', '.invalid'));
  });

  it('that closes every connection before TLS is not called a refusal', async () => {
    const plain = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => {
      plain.listen(0, '127.0.0.1', resolve);
    });
    undo.push(() => new Promise((resolve) => plain.close(() => resolve())));
    const client = connect([`https://127.0.0.1:${(plain.address() as AddressInfo).port}`]);
    await expect(client.version(soon())).rejects.toMatchObject({ code: 'unreachable' });
  });

  it('is waited for when it is to take over from another, also by a write, which is sent once', async () => {
    const [first, second] = [await deadUrl(), await deadUrl()];
    const created = create(connect([first, second], 5_000, 15_000));
    await expect(connect([first, second], 5_000, 1).version(soon())).rejects.toMatchObject({ code: 'unreachable' });
    await expect(connect([first], 5_000, 15_000).version(soon())).rejects.toMatchObject({ code: 'unreachable' });
    const routes = { 'POST /v1/configuration/datasets': (_: unknown, response: ServerResponse) => html404(response) };
    const server = await serve(routes, Number(new URL(second).port));
    await expect(created).rejects.toMatchObject({ code: 'unexpected_answer' });
    expect(server.requests).toEqual(['POST /v1/configuration/datasets']);
  });

  it('is passed over for the next, also by a write, and asked last from then on', async () => {
    const server = await serve({ '*': version, 'POST /v1/configuration/datasets': (_, response) => html404(response) });
    const client = connect([await deadUrl(), server.url]);
    await expect(create(client)).rejects.toMatchObject({ code: 'unexpected_answer' });
    expect(await client.version(soon())).toBe('1');
    expect(server.requests).toEqual(['POST /v1/configuration/datasets', 'GET /v1/version']);
  });
});

describe('a connection that breaks', () => {
  it('under a GET is made again once', async () => {
    let broken = 0;
    const server = await serve({
      '*': (_, response) => {
        broken += 1;
        if (broken === 1) response.destroy();
        else version(_, response);
      },
    });
    expect(await connect([server.url]).version(soon())).toBe('1');
    const always = await serve({ '*': (_, response) => response.destroy() });
    const failure = connect([always.url]).version(soon());
    await expect(failure).rejects.toMatchObject(errorLike('unreachable', 'broke'));
    expect(always.requests).toHaveLength(2);
  });

  it('under a write is not, and the error says that nobody knows', async () => {
    const server = await serve({ '*': (_, response) => response.destroy() });
    const client = connect([server.url, (await serve({ '*': version })).url]);
    const failure = create(client);
    await expect(failure).rejects.toMatchObject({ code: 'unreachable' });
    await expect(failure).rejects.toThrow('unknown whether the request took effect');
    expect(server.requests).toHaveLength(1);
  });

  it('while idle is no failure', async () => {
    const server = await serve({ '*': version });
    const client = connect([server.url]);
    await client.version(soon());
    await client.version(soon());
    expect(server.connections()).toBe(1);
    server.breakConnections();
    expect(await client.version(soon())).toBe('1');
  });

  it('in the middle of a body is a failure', async () => {
    const server = await serve({
      '*': (_, response) => {
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': 100 });
        response.write('{"flocker":', () => response.destroy());
      },
    });
    await expect(connect([server.url]).version(soon())).rejects.toMatchObject({ code: 'unreachable' });
  });
});

describe('a server that misbehaves', () => {
  it('is waited for until the deadline of the request, and no longer', async () => {
    const server = await serve({ '*': () => undefined });
    const client = connect([server.url], 300);
    const read = client.version(soon());
    await expect(read).rejects.toMatchObject({ code: 'unreachable' });
    await expect(read).rejects.toThrow(/did not finish within 300 ms/);
    await expect(create(client)).rejects.toThrow('unknown whether the request took effect');
  });

  it('does not delay a caller who gives up', async () => {
    const server = await serve({ '*': () => undefined });
    const caller = new AbortController();
    const reason = new Error('not wanted any more');
    const read = connect([server.url]).version(caller.signal);
    setTimeout(() => caller.abort(reason), 50);
    await expect(read).rejects.toBe(reason);
  });

  it('cannot fill the memory', async () => {
    const chunk = Buffer.alloc(2 ** 20, ' ');
    const server = await serve({
      '*': (_, response) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        const more = (): void => {
          while (!response.destroyed && response.write(chunk));
        };
        response.on('drain', more);
        more();
      },
    });
    const failure = connect([server.url], 20_000).version(soon());
    await expect(failure).rejects.toMatchObject({ code: 'unexpected_answer' });
  }, 30_000);

  it('gets its own words into the error', async () => {
    const server = await serve({ '*': (_, response) => sendJson(response, 500, 'f00@/2') });
    await expect(create(connect([server.url]))).rejects.toMatchObject(errorLike('server_failed', 'f00@/2'));
  });

  it('ends with close', async () => {
    const server = await serve({ '*': () => undefined });
    const client = connect([server.url]);
    const read = client.version(soon());
    const failed = expect(read).rejects.toMatchObject({ code: 'unreachable' });
    await client.close();
    await failed;
  });
});

describe('additions', () => {
  it('are asked for once', async () => {
    const server = await serve({ 'GET /v1/inspect/nodes': (_, response) => sendJson(response, 200, []) });
    const client = connect([server.url]);
    expect([await client.hasAdditions(soon()), await client.hasAdditions(soon())]).toEqual([true, true]);
    expect(server.requests).toEqual(['GET /v1/inspect/nodes']);
  });

  it.each([
    ['a page that is not found', 404],
    ['a page of HTML', 200],
  ])('are not there where the answer is %s', async (_, status) => {
    const route = (_request: unknown, response: ServerResponse): unknown =>
      response.writeHead(status, { 'content-type': 'text/html' }).end('<html></html>');
    const server = await serve({ '*': route });
    expect(await connect([server.url]).hasAdditions(soon())).toBe(false);
  });

  it('are asked for again after a failure', async () => {
    let status = 503;
    const server = await serve({ '*': (_, response) => sendJson(response, status, []) });
    const client = connect([server.url]);
    await expect(client.hasAdditions(soon())).rejects.toMatchObject({ code: 'server_failed' });
    status = 200;
    expect(await client.hasAdditions(soon())).toBe(true);
  });
});

it('creates under an unused name, whatever its letters', async () => {
  const headers: unknown[] = [];
  const server = await serve({
    'GET /v1/inspect/nodes': (_, response) => sendJson(response, 200, []),
    'POST /v1/configuration/datasets': (request, response) => {
      headers.push(request.headers['x-flocker-if-name-unused'], request.headers['x-if-configuration-matches']);
      sendJson(response, 201, { dataset_id: id, primary: node, deleted: false, metadata: {} });
    },
  });
  const client = connect([server.url]);
  const dataset = { primary: node, metadata: {} };
  await client.createDataset(dataset, { kind: 'nameUnused', name: 'a b%\n🐳' }, soon());
  await client.createDataset(dataset, { kind: 'tag', tag: 'abc' }, soon());
  expect(headers).toEqual(['a%20b%25%0A%F0%9F%90%B3', undefined, undefined, 'abc']);
  const condition = { kind: 'nameUnused', name: '\uD800' } as const;
  await expect(client.createDataset(dataset, condition, soon())).rejects.toMatchObject({ code: 'bad_request' });
  await expect(client.deleteDataset(id, condition, soon())).rejects.toMatchObject({ code: 'bad_request' });
});
