import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { MesosOperatorApi, markAgentGone } from '../../../test/support/mesos-operator-api.ts';
import { testCluster } from '../../client/testing/https-listener.ts';
import { systemClock } from '../../kit/clock.ts';
import type { MasterEvent } from './master-event.ts';
import { connectMesosMaster, type MasterStream, type MesosMasterApi } from './mesos-master.ts';

const signal = new AbortController().signal;
let leader: MesosOperatorApi;
let follower: MesosOperatorApi;
const streams: MasterStream[] = [];

beforeEach(async () => {
  [leader, follower] = await Promise.all([MesosOperatorApi.start(), MesosOperatorApi.start()]);
  follower.follow = leader.url;
});
afterEach(async () => {
  for (const stream of streams.splice(0)) stream.close();
  await Promise.all([leader.close(), follower.close()]);
});

const connect = (urls: readonly string[], access = {}): MesosMasterApi =>
  connectMesosMaster({ urls, clock: systemClock, ...access });

async function subscribe(api: MesosMasterApi): Promise<{ stream: MasterStream; next: () => Promise<MasterEvent> }> {
  const stream = await api.subscribe(signal);
  streams.push(stream);
  const events = stream.events[Symbol.asyncIterator]();
  const next = async (): Promise<MasterEvent> => {
    const result = await events.next();
    if (result.done === true) throw new Error('the stream ended');
    return result.value;
  };
  return { stream, next };
}

it('is led from a master that does not lead to the one that does, and hears of its agents', async () => {
  const { id } = leader.register();
  const { stream, next } = await subscribe(connect([follower.url]));
  expect(stream.url).toBe(leader.url);
  expect(await next()).toMatchObject({
    kind: 'subscribed',
    heartbeatMs: 15_000,
    agents: [{ id, address: '10.0.0.1' }],
  });
  expect(await next()).toEqual({ kind: 'heartbeat' });
  const other = leader.register({ address: '10.0.0.2' });
  expect(await next()).toMatchObject({ kind: 'agentAdded', agent: { id: other.id, endpoint: '10.0.0.2:5051' } });
  leader.unregister(other.id);
  expect(await next()).toEqual({ kind: 'agentAway' });
});

it('tells a gone agent from an unreachable one by the registry, as the events do not', async () => {
  const [gone, lost, idle] = ['10.0.0.1', '10.0.0.2', '10.0.0.3'].map((address) => leader.register({ address }).id);
  for (const agent of [gone, lost]) leader.launch(agent ?? '', false);
  const { stream, next } = await subscribe(connect([leader.url]));
  for (const kind of ['subscribed', 'heartbeat']) expect(await next()).toMatchObject({ kind });
  expect(await markAgentGone(leader.url, gone ?? '')).toBe(200);
  leader.lose(lost ?? '');
  for (let told = 0; told < 2; told += 1) expect(await next()).toEqual({ kind: 'agentAway' });
  // Of one without tasks nothing is told.
  expect(await markAgentGone(leader.url, idle ?? '')).toBe(200);
  leader.heartbeat();
  expect(await next()).toEqual({ kind: 'heartbeat' });
  expect(await stream.registry(signal)).toEqual(
    new Map([
      [gone, 'gone'],
      [idle, 'gone'],
      [lost, 'unreachable'],
    ]),
  );
  expect(await markAgentGone(leader.url, 'nobody')).toBe(404);
});

it('hears of agents that have yet to come to a new master', async () => {
  const { id } = leader.register({ hostname: 'one' });
  leader.failOver();
  const { stream, next } = await subscribe(connect([leader.url]));
  expect(await next()).toMatchObject({ kind: 'subscribed', agents: [{ id, hostname: 'one', address: undefined }] });
  expect(await stream.registry(signal)).toEqual(new Map([[id, 'admitted']]));
});

it('asks the next master when one is away or knows no leader', async () => {
  follower.follow = null;
  const { stream } = await subscribe(connect(['http://127.0.0.1:1', follower.url, leader.url]));
  expect(stream.url).toBe(leader.url);
  await expect(connect([follower.url]).subscribe(signal)).rejects.toMatchObject({ code: 'not_ready' });
  await expect(connect(['http://127.0.0.1:1']).subscribe(signal)).rejects.toMatchObject({ code: 'unreachable' });
});

it('gives up where masters send it round in a circle, or to something else', async () => {
  leader.follow = follower.url;
  await expect(connect([leader.url]).subscribe(signal)).rejects.toThrow(/do not agree/);
  leader.follow = 'http://user:secret@127.0.0.1:1';
  await expect(connect([leader.url]).subscribe(signal)).rejects.toMatchObject({ code: 'unexpected_answer' });
});

it('says who it is where the master asks for that, and what to do when that is not known', async () => {
  leader.authorization = 'Bearer token';
  await expect(connect([leader.url]).subscribe(signal)).rejects.toThrow(/401.*--mesos-credential/);
  follower.authorization = leader.authorization;
  const { stream } = await subscribe(connect([follower.url], { authorization: 'Bearer token' }));
  expect((await stream.registry(signal)).size).toBe(0);
  leader.authorization = 'Bearer another';
  await expect(stream.registry(signal)).rejects.toMatchObject({ code: 'not_allowed' });
});

it('believes no registry of a master that no longer leads', async () => {
  const { stream } = await subscribe(connect([leader.url]));
  leader.follow = null;
  await expect(stream.registry(signal)).rejects.toMatchObject({ code: 'not_ready' });
});

it.each([
  ['what is no record', 'x\n'],
  ['a record without end', '999999999\n{'],
  ['a record that is no JSON', '1\n{'],
])('ends a stream with %s', async (_, bytes) => {
  const { next } = await subscribe(connect([leader.url]));
  for (const kind of ['subscribed', 'heartbeat']) expect(await next()).toMatchObject({ kind });
  leader.sendRaw(bytes);
  await expect(next()).rejects.toThrow(/Mesos sent|announced|no JSON/);
});

it('speaks TLS, and trusts whom it is told to; it leaves TLS for nobody', async () => {
  const { control } = await testCluster();
  const server = createServer({ cert: control.cert, key: control.key }, (_request, response) => {
    response.writeHead(307, { location: `${leader.url}/api/v1` }).end();
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await expect(connect([url], { ca: control.ca }).subscribe(signal)).rejects.toThrow(/names "http:.*leading master/);
  await expect(connect([url]).subscribe(signal)).rejects.toMatchObject({ code: 'unreachable' });
  server.closeAllConnections();
  server.close();
});
