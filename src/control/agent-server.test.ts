import { once } from 'node:events';
import { request } from 'node:https';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { expect, it } from 'vitest';
import { AGENT_CHANNEL_PATH } from '../api/agent-channel.ts';
import { testCluster } from '../client/testing/https-listener.ts';
import { systemClock } from '../kit/clock.ts';
import { silentLogger } from '../kit/logger.ts';
import { serveAgents } from './agent-server.ts';
import { ControlService } from './control-service.ts';
import { memoryStore } from './store/memory-store.ts';
import { A } from './testing/samples.ts';

it('ends with an agent that is on its way in', async () => {
  const { control, authority } = await testCluster();
  const store = memoryStore('cluster');
  const shared = { clock: systemClock, logger: silentLogger };
  const service = new ControlService({
    ...{ store, entries: store.entries(), newUuid: () => A, onFatal: () => undefined, ...shared },
  });
  const { cert, key, ca } = await authority.issue(`node-${A}`);
  const listener = await serveAgents({ service, tls: control, host: '127.0.0.1', port: 0, ...shared });
  const early = connect(listener.port, '127.0.0.1').on('error', () => undefined);
  await once(early, 'connect');
  // Connections are taken in their order: the server has the first one when it answers the second.
  const asked = request({ host: '127.0.0.1', port: listener.port, cert, key, ca, agent: false }).end();
  await once(asked, 'response');

  const ended = once(early, 'close');
  const closed = listener.close();
  const secured = connectTls({ socket: early, cert, key, ca, host: '127.0.0.1' }).on('error', () => undefined);
  secured.write(
    `GET ${AGENT_CHANNEL_PATH} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n` +
      'sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
  );
  await Promise.all([closed, ended]);
  await service.close();
  expect(secured.destroyed).toBe(true);
});
