import type { ServerResponse } from 'node:http';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { DatasetInspection } from '../api/inspection.ts';
import { type Clock, systemClock } from '../kit/clock.ts';
import { parseDatasetId, parseNodeId } from '../kit/ids.ts';
import type { FlockerConnection } from './connect-flocker.ts';
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
const node = parseNodeId('11111111-1111-4111-8111-111111111111');
const other = parseNodeId('33333333-3333-4333-8333-333333333333');
const id = parseDatasetId('22222222-2222-4222-8222-222222222222');
if (node === undefined || other === undefined || id === undefined) throw new Error('no ids');
const soon = (): AbortSignal => AbortSignal.timeout(20_000);
const ignore = (): void => undefined;
const state = { primary: node, path: `/flocker/${id}`, maximum_size: 2 ** 26 };
let cluster: TestCluster;

beforeAll(async () => {
  cluster = await testCluster();
});
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

const pending = (message: string, needs_action = false): DatasetInspection => ({
  configuration: { dataset_id: id, primary: node, deleted: false, metadata: {} },
  status: 'pending',
  state: null,
  holder: null,
  lease: null,
  problem: { code: 'in_progress', message, needs_action },
});
const mounted: DatasetInspection = { ...pending(''), status: 'mounted', state, holder: node, problem: null };
const event = (inspection: DatasetInspection): string =>
  `id: 1\nevent: dataset\ndata: ${JSON.stringify(inspection)}\n\n`;

function stream(response: ServerResponse, text: string): ServerResponse {
  response.writeHead(200, { 'content-type': 'text/event-stream' }).write(text);
  return response;
}

/** A server with additions whose n-th event stream is answered by the n-th of `streams`, the last one for ever. */
async function serve(
  streams: readonly ((response: ServerResponse) => unknown)[],
  options: Partial<FlockerConnection> = {},
): Promise<{ readonly client: FlockerClient; readonly server: TestListener }> {
  let count = 0;
  return serveRoutes(
    {
      'GET /v1/inspect/nodes': (_, response) => sendJson(response, 200, []),
      'GET /v1/events': (_, response) => {
        streams[Math.min(count, streams.length - 1)]?.(response);
        count += 1;
      },
    },
    options,
  );
}

async function serveRoutes(
  routes: Routes,
  options: Partial<FlockerConnection> = {},
): Promise<{ readonly client: FlockerClient; readonly server: TestListener }> {
  const server = await listen(cluster.control, routes);
  undo.push(() => server.close());
  const client = testClient([server.url], cluster.user, options);
  undo.push(() => client.close());
  return { client, server };
}

describe('waiting for a mount on a server with events', () => {
  it('takes one request, whose connection serves the next', async () => {
    const { client, server } = await serve([
      (response) => stream(response, ': hello\n\n' + event(pending('soon')) + event(mounted)).end(),
    ]);
    for (let turn = 0; turn < 3; turn += 1) {
      expect(await client.waitUntilMounted(id, node, ignore, soon())).toEqual({ path: state.path, sizeBytes: 2 ** 26 });
      await new Promise((resolve) => {
        setTimeout(resolve, 20);
      });
    }
    expect(server.requests.slice(0, 2)).toEqual([
      'GET /v1/inspect/nodes',
      `GET /v1/events?dataset_id=${id}&until=mounted&node_uuid=${node}`,
    ]);
    expect(server.requests).toHaveLength(4);
    // One for requests, one for streams.
    expect(server.connections()).toBe(2);
  });

  it('reads an event that comes byte by byte', async () => {
    const { client } = await serve([
      (response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        const bytes = [...Buffer.from(event(pending('größer 🐳')) + event(mounted))];
        const next = (): void => {
          const byte = bytes.shift();
          if (byte === undefined) response.end();
          else response.write(Uint8Array.of(byte), () => setImmediate(next));
        };
        next();
      },
    ]);
    const problems: string[] = [];
    await client.waitUntilMounted(id, node, (told) => problems.push(told), soon());
    expect(problems).toEqual(['größer 🐳']);
  });

  it('tells a problem when it changes', async () => {
    const { client } = await serve([
      (response) => stream(response, [pending('a'), pending('a'), pending('b'), mounted].map(event).join('')).end(),
    ]);
    const problems: string[] = [];
    await client.waitUntilMounted(id, node, (told) => problems.push(told), soon());
    expect(problems).toEqual(['a', 'b']);
  });

  it('fails with a problem that needs action, and when the dataset is deleted', async () => {
    const deleted = { ...pending(''), configuration: { ...mounted.configuration, deleted: true }, problem: null };
    const { client } = await serve([
      (response) => stream(response, event(pending('no profile "gold"', true))).end(),
      (response) => stream(response, event(deleted)).end(),
    ]);
    const first = client.waitUntilMounted(id, node, ignore, soon());
    await expect(first).rejects.toMatchObject({
      ...{ code: 'needs_action', message: 'no profile "gold"' },
      cause: { code: 'in_progress', needs_action: true },
    });
    const second = client.waitUntilMounted(id, node, ignore, soon());
    await expect(second).rejects.toMatchObject(errorLike('deleted', id));
  });

  it('does not take a mount on another node, or one that is moving away', async () => {
    const elsewhere: DatasetInspection = { ...mounted, state: { ...state, primary: other } };
    const moving: DatasetInspection = { ...mounted, status: 'moving' };
    const { client, server } = await serve([
      (response) => stream(response, event(elsewhere) + event(moving)),
      (response) => stream(response, event(mounted)).end(),
    ]);
    const wait = client.waitUntilMounted(id, node, ignore, soon());
    await expect.poll(() => server.requests.length, { timeout: 5_000 }).toBe(2);
    const early = await Promise.race([wait, new Promise((resolve) => setTimeout(resolve, 100, 'still waiting'))]);
    expect(early).toBe('still waiting');
    server.breakConnections();
    expect((await wait).path).toBe(state.path);
  });

  it('comes back after breaks, failures, ends without a decision and a reset', async () => {
    const { client, server } = await serve([
      (response) => response.destroy(),
      (response) => stream(response, event(pending('x')).slice(0, 20)).destroy(),
      (response) => sendJson(response, 503, { description: 'too many streams' }),
      (response) => stream(response, event(pending('x'))).end(),
      (response) => stream(response, 'event: reset\ndata: {}\n\n'),
      (response) => stream(response, event(mounted)),
    ]);
    const problems: string[] = [];
    expect((await client.waitUntilMounted(id, node, (told) => problems.push(told), soon())).path).toBe(state.path);
    expect(problems).toEqual(expect.arrayContaining([expect.stringContaining('too many streams'), 'x']));
    expect(server.requests.filter((request) => request.includes('/v1/events')).length).toBeGreaterThanOrEqual(6);
  });

  it('gives a silent stream up, but not one with heartbeats', async () => {
    let fireIdle: (() => void)[] = [];
    const clock: Clock = {
      ...systemClock,
      timer: (delayMs, wake) => {
        if (delayMs !== 45_000) return systemClock.timer(delayMs, wake);
        fireIdle.push(wake);
        return () => {
          fireIdle = fireIdle.filter((one) => one !== wake);
        };
      },
    };
    let heartbeat = (): void => undefined;
    const { client, server } = await serve(
      [
        (response) => {
          stream(response, event(pending('x')));
          heartbeat = () => void response.write(': still here\n\n');
        },
        (response) => stream(response, event(mounted)).end(),
      ],
      { clock },
    );
    const problems: string[] = [];
    const wait = client.waitUntilMounted(id, node, (told) => problems.push(told), soon());
    await expect.poll(() => problems, { timeout: 5_000 }).toEqual(['x']);
    const before = [...fireIdle];
    expect(before).toHaveLength(1);
    heartbeat();
    await expect.poll(() => fireIdle[0] !== before[0], { timeout: 5_000 }).toBe(true);
    expect(server.requests).toHaveLength(2);
    fireIdle[0]?.();
    expect((await wait).path).toBe(state.path);
    expect(problems[1]).toContain('silent');
    expect(fireIdle).toEqual([]);
  });

  it('does not repeat what repeating cannot cure', async () => {
    const { client } = await serve([
      (response) => stream(response, 'event: dataset\ndata: {"status":"mounted"}\n\n'),
      (response) => sendJson(response, 200, {}),
      (response) => sendJson(response, 404, { description: 'Dataset not found.' }),
    ]);
    for (const code of ['unexpected_answer', 'unexpected_answer', 'not_found']) {
      await expect(client.waitUntilMounted(id, node, ignore, soon())).rejects.toMatchObject({ code });
    }
  });

  it('ends with the client', async () => {
    const { client } = await serve([(response) => stream(response, event(pending('x')))]);
    const wait = client.waitUntilMounted(id, node, () => void client.close(), soon());
    await expect(wait).rejects.toMatchObject({ code: 'unreachable' });
  });

  it('ends with the signal', async () => {
    const { client } = await serve([(response) => stream(response, event(pending('x')))]);
    const caller = new AbortController();
    const reason = new Error('time is up');
    const wait = client.waitUntilMounted(id, node, () => caller.abort(reason), caller.signal);
    await expect(wait).rejects.toBe(reason);
  });
});

describe('waiting for the end of a dataset on a server with events', () => {
  const deleting: DatasetInspection = { ...mounted, status: 'deleting' };

  it('takes until it is destroyed', async () => {
    const gone: DatasetInspection = { ...deleting, status: 'deleted', state: null, holder: null };
    const { client, server } = await serve([(response) => stream(response, event(deleting) + event(gone)).end()]);
    await client.waitUntilGone(id, soon());
    expect(server.requests[1]).toBe(`GET /v1/events?dataset_id=${id}&until=gone`);
  });

  it('is over when the server does not know it, and fails when somebody has to act', async () => {
    const stuck = { ...deleting, problem: { code: 'conflict', message: 'two of them', needs_action: true } };
    const { client } = await serve([
      (response) => sendJson(response, 404, { description: 'Dataset not found.' }),
      (response) => stream(response, event(stuck)).end(),
    ]);
    await client.waitUntilGone(id, soon());
    await expect(client.waitUntilGone(id, soon())).rejects.toMatchObject({
      code: 'needs_action',
      cause: { code: 'conflict' },
    });
  });
});

describe('waiting on a server without events', () => {
  it('polls through failures, gaps and duplicates', async () => {
    const lists: unknown[] = [
      [],
      undefined,
      [{ dataset_id: id }],
      [{ dataset_id: id }, { dataset_id: id.toUpperCase(), ...state, primary: node.toUpperCase() }],
    ];
    const { client, server } = await serveRoutes({
      'GET /v1/state/datasets': (_, response) => {
        const list = lists.length > 1 ? lists.shift() : lists[0];
        if (list === undefined) sendJson(response, 500, 'f00@/2');
        else sendJson(response, 200, list);
      },
      '*': (_, response) => html404(response),
    });
    const problems: string[] = [];
    expect((await client.waitUntilMounted(id, node, (told) => problems.push(told), soon())).path).toBe(state.path);
    expect(problems).toEqual([expect.stringContaining('f00@/2')]);
    expect(server.requests).toHaveLength(5);
  });

  it('does not take one gap for the end', async () => {
    const full = [{ dataset_id: id, ...state }];
    const lists: unknown[] = [full, [], full, [], []];
    const { client } = await serveRoutes({
      'GET /v1/state/datasets': (_, response) => sendJson(response, 200, lists.shift()),
      '*': (_, response) => html404(response),
    });
    await client.waitUntilGone(id, soon());
    expect(lists).toEqual([]);
  });
});
