import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestControl, type TestControl } from '../support/control.ts';
import { FakeAgent, type NodeCredentials } from '../support/fake-agent.ts';

/** The handshake's deadline, and a look at the connections after it. */
const HANDSHAKE_MS = 10_000;
const HEADERS_MS = 15_000;
const SLACK_MS = 5_000;
const IDLE = 2_000;

let control: TestControl;
let node: NodeCredentials;
beforeAll(async () => {
  control = await startTestControl();
  node = await control.certificates.node();
});
afterAll(() => control.close());

async function expectService(): Promise<void> {
  const startedMs = performance.now();
  expect((await control.api.get('/v1/version')).status).toBe(200);
  const agent = await FakeAgent.join(control.agentPort, node);
  agent.cut();
  expect(performance.now() - startedMs).toBeLessThan(5_000);
}

async function tcp(port: number): Promise<Socket> {
  const socket = connectTcp(port, '127.0.0.1');
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

/** Resolves with the milliseconds until the other side ends the connection. */
async function endOf(socket: Socket): Promise<number> {
  const startedMs = performance.now();
  socket.resume();
  if (!socket.closed) await once(socket, 'close');
  return performance.now() - startedMs;
}

const ports = (): number[] => [control.restPort, control.agentPort];

describe('peers that do not speak as they should', { concurrent: true }, () => {
  it('get nothing for plain HTTP, nor for noise', async () => {
    for (const port of ports()) {
      for (const bytes of [
        'GET /v1/version HTTP/1.1\r\nhost: x\r\n\r\n',
        '\u0016\u0003\u0001\uffff',
        'SSH-2.0-x\r\n',
      ]) {
        const socket = await tcp(port);
        let got = Buffer.alloc(0);
        socket.on('data', (part: Buffer) => (got = Buffer.concat([got, part])));
        socket.write(bytes, 'latin1');
        socket.end();
        await endOf(socket);
        // At most an alert of TLS.
        expect(got.toString('latin1')).not.toContain('HTTP');
        expect(got.length).toBeLessThan(10);
      }
    }
  });

  it('are cut off when the handshake takes too long, while thousands of them wait and others are served', async () => {
    const sockets: Socket[] = [];
    for (const port of ports())
      for (let dialled = 0; dialled < IDLE; dialled += 200)
        sockets.push(...(await Promise.all(Array.from({ length: 200 }, () => tcp(port)))));
    // One byte at a time does not gain time.
    for (const socket of sockets.slice(0, 50)) socket.write(Buffer.of(0x16));
    const dribble = setInterval(() => {
      for (const socket of sockets.slice(0, 50)) if (socket.writable) socket.write(Buffer.of(0x03));
    }, 2_000);
    await expectService();
    const ends = await Promise.all(sockets.map(endOf));
    clearInterval(dribble);
    expect(Math.max(...ends)).toBeLessThan(HANDSHAKE_MS + SLACK_MS);
    await expectService();
  }, 60_000);

  it('are cut off when they have a certificate and say nothing, or say it slowly', async () => {
    const user = await control.certificates.user('slow');
    const admitted = (port: number): Socket => {
      const tls = port === control.restPort ? user : node;
      const socket = connectTls({ ...tls, host: '127.0.0.1', port, servername: 'control-service' });
      socket.on('error', () => undefined);
      return socket;
    };
    const silent = ports().map(admitted);
    const slow = ports().map(admitted);
    for (const socket of slow) socket.write('GET /v1/version HTTP/1.1\r\nx-slow: ');
    const dribble = setInterval(() => {
      for (const socket of slow) if (socket.writable) socket.write('x');
    }, 1_000);
    const ends = await Promise.all([...silent, ...slow].map(endOf));
    clearInterval(dribble);
    expect(Math.max(...ends)).toBeLessThan(HEADERS_MS + SLACK_MS);
    await expectService();
  }, 60_000);
});

it('no more connections than are allowed are taken, and those who waited come in when others end', async () => {
  const small = await startTestControl({ mostConnections: 20 });
  try {
    const sockets = await Promise.all(Array.from({ length: 20 }, () => tcp(small.restPort)));
    const late = await tcp(small.restPort);
    expect(await endOf(late)).toBeLessThan(SLACK_MS);
    for (const socket of sockets) socket.destroy();
    await expect.poll(() => small.api.get('/v1/version').then(({ status }) => status, String)).toBe(200);
  } finally {
    await small.close();
  }
});
