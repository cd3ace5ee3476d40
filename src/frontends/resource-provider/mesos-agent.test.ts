import { rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import { createServer as createSilentServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { MesosProviderManager } from '../../../test/support/mesos-provider-manager.ts';
import { testCluster } from '../../client/testing/https-listener.ts';
import { systemClock } from '../../kit/clock.ts';
import { readAuthorization } from '../../mesos/authorization.ts';
import { connectMesosAgent } from './mesos-agent.ts';

const signal = new AbortController().signal;
let manager: MesosProviderManager;
beforeEach(async () => {
  manager = await MesosProviderManager.start();
});
afterEach(() => manager.close());

it('says who it is where the agent asks for that', async () => {
  const path = join(tmpdir(), `credential-${process.pid}`);
  await writeFile(path, '{"principal": "flocker", "secret": "s3cret"}');
  const authorization = await readAuthorization({ credentialPath: path, tokenPath: undefined });
  manager.authorization = `Basic ${Buffer.from('flocker:s3cret').toString('base64')}`;
  const anonymous = connectMesosAgent({ url: manager.url, clock: systemClock });
  await expect(anonymous.agentId(signal)).rejects.toThrow(/--credential/);
  expect(await anonymous.isSubscribed('x', signal)).toBeUndefined();
  const known = connectMesosAgent({ url: manager.url, clock: systemClock, ...(authorization && { authorization }) });
  expect(await known.agentId(signal)).toBe(manager.model.agentId);
  await writeFile(path, 'token\n');
  expect(await readAuthorization({ credentialPath: undefined, tokenPath: path })).toBe('Bearer token');
  await expect(readAuthorization({ credentialPath: path, tokenPath: undefined })).rejects.toThrow(/principal/);
  await rm(path);
});

it('tells what an answer means', async () => {
  const agent = connectMesosAgent({ url: manager.url, clock: systemClock });
  manager.ready = false;
  await expect(agent.agentId(signal)).rejects.toMatchObject({ code: 'not_ready' });
  manager.ready = true;
  await expect(agent.subscribe({ name: 'no type' }, signal)).rejects.toMatchObject({ code: 'invalid_call' });
  const stream = await agent.subscribe({ type: 't', name: 'n' }, signal);
  await expect(stream.call({ type: 'UPDATE_STATE', resource_provider_id: { value: 'x' } })).rejects.toMatchObject({
    code: 'not_subscribed',
  });
  await stream.close();
  const nobody = connectMesosAgent({ url: 'http://127.0.0.1:1', clock: systemClock });
  await expect(nobody.agentId(signal)).rejects.toMatchObject({ code: 'unreachable' });
});

it('gives up on an agent that does not answer', async () => {
  const server = createSilentServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const agent = connectMesosAgent({ url: `http://127.0.0.1:${port}`, clock: systemClock, callTimeoutMs: 200 });
  await expect(agent.agentId(signal)).rejects.toMatchObject({ code: 'unreachable' });
  server.close();
});

it('speaks TLS, and trusts whom it is told to', async () => {
  const { control } = await testCluster();
  const server = createServer({ cert: control.cert, key: control.key }, (_request, response) => {
    response.end(JSON.stringify({ get_agent: { agent_info: { id: { value: 'A' } } } }));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  const url = `https://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  const trusting = connectMesosAgent({ url, clock: systemClock, ca: control.ca });
  expect(await trusting.agentId(signal)).toBe('A');
  await expect(connectMesosAgent({ url, clock: systemClock }).agentId(signal)).rejects.toMatchObject({
    code: 'unreachable',
  });
  server.closeAllConnections();
  server.close();
});
