import { once } from 'node:events';
import { Agent, request } from 'node:https';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Credentials } from '../../src/tls/credentials.ts';
import { type ClusterCertificates, clusterCertificates } from '../support/cluster-certificates.ts';
import { startTestControl, type TestControl } from '../support/control.ts';
import { FakeAgent, type NodeCredentials } from '../support/fake-agent.ts';
import { httpsAnswer } from '../support/https-answer.ts';

let control: TestControl;
let foreign: ClusterCertificates;
let node: NodeCredentials;
/** By what they are; without a certificate of its own a peer still trusts the cluster. */
let peers: Record<string, Partial<Credentials>>;

beforeAll(async () => {
  control = await startTestControl();
  foreign = await clusterCertificates('foreign');
  const { certificates } = control;
  node = await certificates.node();
  const { ca } = node;
  peers = {
    'no certificate': { ca },
    'a user of another cluster': { ...(await foreign.user('tester')), ca },
    'a node of another cluster': { ...(await foreign.node()), ca },
    'a control service of another cluster': { ...(await foreign.control()), ca },
    user: await certificates.user('somebody'),
    node,
    'the control service': await certificates.control(),
    'an expired user': await certificates.named('user-late', { expired: true }),
    'an expired node': await certificates.named(`node-${node.nodeId}`, { expired: true }),
    'a user of tomorrow': await certificates.named('user-early', { early: true }),
    'a node of tomorrow': await certificates.named(`node-${node.nodeId}`, { early: true }),
    'another role': await certificates.named('admin-x'),
    'user in upper case': await certificates.named('USER-x'),
    'user without a hyphen': await certificates.named('user'),
    'user further on': await certificates.named('x-user-y'),
    'the authority’s own name': await certificates.named('test'),
  };
});
afterAll(async () => {
  await control.close();
  await foreign.dispose();
});

const NEVER = [
  'no certificate',
  'a user of another cluster',
  'a node of another cluster',
  'a control service of another cluster',
  'the control service',
  'an expired user',
  'an expired node',
  'a user of tomorrow',
  'a node of tomorrow',
  'another role',
  'user in upper case',
  'user without a hyphen',
  'user further on',
  'the authority’s own name',
];

/** Every byte the server sends after the handshake to a peer that asks for `path` at once. */
async function bytesFor(port: number, tls: Partial<Credentials>, maxVersion: 'TLSv1.2' | 'TLSv1.3'): Promise<string> {
  const socket = connect({ ...tls, host: '127.0.0.1', port, servername: 'control-service', maxVersion });
  const parts: Buffer[] = [];
  socket.on('data', (part: Buffer) => parts.push(part));
  socket.on('error', () => undefined);
  socket.setTimeout(5_000, () => parts.push(Buffer.from('the connection stayed open')) && socket.destroy());
  socket.write('GET /v1/version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
  return new Promise((resolve) => {
    socket.on('close', () => resolve(Buffer.concat(parts).toString()));
  });
}

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('who may speak over %s (contract 2.2)', (version) => {
  it.each([...NEVER, 'node'])('the REST port sends not one byte to %s', async (peer) => {
    expect(await bytesFor(control.restPort, peers[peer] ?? {}, version)).toBe('');
  });

  it.each([...NEVER, 'user'])('the agents’ port sends not one byte to %s', async (peer) => {
    expect(await bytesFor(control.agentPort, peers[peer] ?? {}, version)).toBe('');
  });

  it('the REST port answers a user', async () => {
    expect(await bytesFor(control.restPort, peers['user'] ?? {}, version)).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('the agents’ port tells a node that HTTP is elsewhere', async () => {
    expect(await bytesFor(control.agentPort, peers['node'] ?? {}, version)).toMatch(/^HTTP\/1\.1 426 /);
  });
});

describe('the listeners (contract 2.1 to 2.3)', () => {
  it('present a certificate for control-service and for the address that was dialled', async () => {
    for (const port of [control.restPort, control.agentPort]) {
      const user = port === control.restPort ? peers['user'] : peers['node'];
      for (const servername of ['control-service', undefined]) {
        const options = { ...user, host: '127.0.0.1', port, ...(servername === undefined ? {} : { servername }) };
        const socket = connect(options);
        await once(socket, 'secureConnect', { signal: AbortSignal.timeout(5_000) });
        expect(socket.authorized).toBe(true);
        expect(socket.getPeerCertificate().subject.CN).toBe('control-service');
        socket.destroy();
      }
    }
  });

  it('refuse protocols older than TLS 1.2', async () => {
    const options = { ...peers['user'], host: '127.0.0.1', port: control.restPort, servername: 'control-service' };
    const socket = connect({ ...options, minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' });
    const [error] = (await once(socket, 'error', { signal: AbortSignal.timeout(5_000) })) as [Error];
    expect(error.message).toMatch(/protocol|version/i);
  });

  it('know a user again when its TLS session is resumed', async () => {
    const agent = new Agent({ keepAlive: false });
    const ask = (): Promise<{ status: number | undefined; reused: boolean }> =>
      new Promise((resolve, reject) => {
        const options = { ...peers['user'], host: '127.0.0.1', port: control.restPort, path: '/v1/version', agent };
        const outgoing = request({ ...options, servername: 'control-service' }, (incoming) => {
          const reused = (incoming.socket as TLSSocket).isSessionReused();
          incoming.resume();
          incoming.on('end', () => resolve({ status: incoming.statusCode, reused }));
        });
        outgoing.on('error', reject);
        outgoing.end();
      });
    expect(await ask()).toEqual({ status: 200, reused: false });
    expect(await ask()).toEqual({ status: 200, reused: true });
    agent.destroy();
  });

  it('live on after every peer they refused', async () => {
    const answer = await httpsAnswer(
      { port: control.restPort, tls: peers['user'] ?? {} },
      { method: 'GET', path: '/health' },
    );
    expect(answer.status).toBe(200);
    const agent = await FakeAgent.join(control.agentPort, node);
    expect(agent.open).toBe(true);
    agent.cut();
  });
});
