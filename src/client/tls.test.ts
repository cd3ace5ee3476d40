import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseDatasetId } from '../kit/ids.ts';
import type { FlockerConnection } from './connect-flocker.ts';
import { testAuthority } from './testing/certificates.ts';
import { errorLike } from './testing/error-like.ts';
import { listen, sendJson, type TestCluster, testClient, testCluster } from './testing/https-listener.ts';
import type { TlsIdentity } from './tls-identity.ts';

const routes = {
  '*': (_: unknown, response: Parameters<typeof sendJson>[0]) => sendJson(response, 200, { flocker: '1' }),
};
const undo: (() => Promise<void>)[] = [];
let cluster: TestCluster;

beforeAll(async () => {
  cluster = await testCluster();
});
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

async function versionOver(
  control: TlsIdentity,
  user: TlsIdentity,
  options: Partial<FlockerConnection> & { maxVersion?: 'TLSv1.2' | 'TLSv1.3' } = {},
): Promise<string> {
  const server = await listen(
    control,
    routes,
    options.maxVersion === undefined ? {} : { maxVersion: options.maxVersion },
  );
  undo.push(() => server.close());
  const client = testClient([server.url], user, options);
  undo.push(() => client.close());
  return client.version(AbortSignal.timeout(20_000));
}

const refused = (...texts: readonly string[]): object => errorLike('tls_refused', ...texts);

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('a certificate that the server refuses under %s', (maxVersion) => {
  it('is named: a node’s', async () => {
    const node = await cluster.authority.issue('node-1234');
    const hint = refused('refuses the certificate of this client', 'user certificate', 'ours is CN=node-1234');
    await expect(versionOver(cluster.control, node, { maxVersion })).rejects.toMatchObject(hint);
  });

  it('is named: another cluster’s', async () => {
    const stranger = { ...(await (await testAuthority('other')).issue('user-eve')), ca: cluster.authority.ca };
    const hint = refused('refuses the certificate of this client', 'ours is CN=user-eve; issued by CN=other');
    await expect(versionOver(cluster.control, stranger, { maxVersion })).rejects.toMatchObject(hint);
  });

  it('is named: an expired one', async () => {
    const old = await cluster.authority.issue('user-old', { days: -1 });
    const hint = refused('refuses the certificate of this client', 'ours is CN=user-old', 'valid until');
    await expect(versionOver(cluster.control, old, { maxVersion })).rejects.toMatchObject(hint);
  });
});

it('says so for a write too', async () => {
  const server = await listen(cluster.control, routes);
  undo.push(() => server.close());
  const client = testClient([server.url], await cluster.authority.issue('node-1234'));
  undo.push(() => client.close());
  const id = parseDatasetId('22222222-2222-4222-8222-222222222222');
  if (id === undefined) throw new Error('no id');
  const write = client.deleteDataset(id, { kind: 'none' }, AbortSignal.timeout(20_000));
  await expect(write).rejects.toMatchObject(refused('refuses the certificate of this client'));
  expect(server.requests).toEqual([]);
});

describe('a server that this client refuses', () => {
  it('has a certificate of another authority', async () => {
    const other = await (await testAuthority('other')).issue('control-service', { names: ['control-service'] });
    const hint = refused("server's certificate is not signed by the CA");
    await expect(versionOver({ ...other, ca: cluster.authority.ca }, cluster.user)).rejects.toMatchObject(hint);
  });

  it('has another name', async () => {
    const node = await cluster.authority.issue('node-1234', { names: ['node-1234'] });
    const hint = refused("server's certificate is for another name", 'control-service');
    await expect(versionOver(node, cluster.user)).rejects.toMatchObject(hint);
  });

  it('has a certificate that is over', async () => {
    const old = await cluster.authority.issue('control-service', { names: ['control-service'], days: -1 });
    await expect(versionOver(old, cluster.user)).rejects.toMatchObject(refused('expired', 'clock'));
  });

  it('speaks no TLS', async () => {
    const plain = createServer((socket) => socket.resume().end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    await new Promise<void>((resolve) => {
      plain.listen(0, '127.0.0.1', resolve);
    });
    undo.push(() => new Promise((resolve) => plain.close(() => resolve())));
    const client = testClient([`https://127.0.0.1:${(plain.address() as AddressInfo).port}`], cluster.user);
    undo.push(() => client.close());
    const failure = client.version(AbortSignal.timeout(5_000));
    await expect(failure).rejects.toMatchObject(refused('does not speak TLS', 'check the port'));
  });
});

describe('the name of the server', () => {
  it('is `control-service` or the dialled address', async () => {
    expect(await versionOver(cluster.control, cluster.user)).toBe('1');
    expect(await versionOver(cluster.control, cluster.user, { checkName: 'dialled' })).toBe('1');
    const unnamed = await cluster.authority.issue('control-service', { names: ['control-service'] });
    const dialled = versionOver(unnamed, cluster.user, { checkName: 'dialled' });
    await expect(dialled).rejects.toMatchObject(refused('another name', '127.0.0.1'));
  });
});

describe('the files of the client', () => {
  it('are read before anything is sent', async () => {
    const other = await cluster.authority.issue('user-eve');
    const mixed = { ...cluster.user, key: other.key };
    expect(() => testClient(['https://h:1'], mixed)).toThrow(expect.objectContaining({ code: 'tls_refused' }));
    const noPem = { ...cluster.user, cert: 'nothing' };
    expect(() => testClient(['https://h:1'], noPem)).toThrow(/all three must be PEM/);
    expect(() => testClient(['http://h:1'], cluster.user)).toThrow(/write https:/);
    expect(() => testClient([], cluster.user)).toThrow(/No URL/);
  });
});
