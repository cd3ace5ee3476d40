import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../kit/clock.ts';
import { type Credentials, certificateIdentity, loadCredentials } from './credentials.ts';
import { createControlCertificate, createNodeCertificate, createUserCertificate } from './leaf.ts';
import { shakeHands } from './testing/handshake.ts';
import { hasOpenssl, openssl } from './testing/openssl.ts';
import { makeOriginalCluster } from './testing/original-authority.ts';
import { realSources } from './testing/sources.ts';

const CLUSTER_ID = '5df2c5e1-7a0c-4f0a-9c55-0f1b7f0c2a11';
const NODE_ID = '0e6ee4a1-3e0e-4c5d-8d8c-6f1f5c6a7b01';
const MINUTE_MS = 60_000;

describe.skipIf(!hasOpenssl)("a cluster of the original's tool", () => {
  let directory: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'flocker-original-'));
    await makeOriginalCluster(directory, CLUSTER_ID, [
      {
        baseName: 'control-service',
        commonName: 'control-service',
        extensions: ['subjectAltName = DNS:control-service, DNS:flocker.example.com'],
      },
      { baseName: 'node', commonName: `node-${NODE_ID}`, extensions: [] },
      { baseName: 'plugin', commonName: 'user-plugin', extensions: ['extendedKeyUsage = clientAuth'] },
    ]);
  }, MINUTE_MS);

  afterAll(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  const load = (name: string): Promise<Credentials> =>
    loadCredentials(
      { ca: join(directory, 'cluster.crt'), cert: join(directory, `${name}.crt`), key: join(directory, `${name}.key`) },
      systemClock,
    );

  it('is really of version 1 with extensions and a PKCS#1 key', async () => {
    for (const name of ['cluster', 'control-service', 'plugin']) {
      const text = await openssl('x509', '-noout', '-text', '-in', join(directory, `${name}.crt`));
      expect(text).toMatch(/Version: 1 \(0x0\)/);
      expect(text).toMatch(/X509v3 (Basic Constraints|Subject Alternative Name|Extended Key Usage)/);
    }
    expect(await readFile(join(directory, 'cluster.key'), 'utf8')).toMatch(/^-----BEGIN RSA PRIVATE KEY-----/);
  });

  it('keeps working with the certificates it has', async () => {
    const server = await load('control-service');
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const node = await shakeHands(server, await load('node'), { maxVersion });
      expect(node).toEqual({ clientName: `node-${NODE_ID}`, protocol: maxVersion });
      const user = await shakeHands(server, await load('plugin'), { maxVersion, servername: 'flocker.example.com' });
      expect(user.clientName).toBe('user-plugin');
    }
    expect(certificateIdentity((await load('node')).cert)).toEqual({
      role: { kind: 'node', nodeId: NODE_ID },
      clusterId: CLUSTER_ID,
    });
  });

  it('gets new certificates of every kind that work with its old ones', async () => {
    const at = { authorityDirectory: directory, outputDirectory: directory, keyType: 'ec' } as const;
    await createControlCertificate({ ...at, hostname: '192.0.2.7' }, realSources);
    const { nodeId, clusterId } = await createNodeCertificate(at, realSources);
    await createUserCertificate({ ...at, name: 'alice' }, realSources);
    expect(clusterId).toBe(CLUSTER_ID);
    const newServer = await load('control-192.0.2.7');
    const oldServer = await load('control-service');
    for (const server of [oldServer, newServer]) {
      expect((await shakeHands(server, await load(nodeId))).clientName).toBe(`node-${nodeId}`);
      expect((await shakeHands(server, await load('alice'))).clientName).toBe('user-alice');
      expect((await shakeHands(server, await load('plugin'))).clientName).toBe('user-plugin');
    }
    const verified = await openssl('verify', '-CAfile', join(directory, 'cluster.crt'), join(directory, 'alice.crt'));
    expect(verified).toContain(': OK');
    const authority = new X509Certificate(await readFile(join(directory, 'cluster.crt')));
    const alice = new X509Certificate(await readFile(join(directory, 'alice.crt')));
    expect(alice.issuer).toBe(authority.subject);
  });

  it(
    'gets RSA-4096 keys on request',
    async () => {
      const at = { authorityDirectory: directory, outputDirectory: directory, keyType: 'rsa' } as const;
      const { keyPath } = await createUserCertificate({ ...at, name: 'bob' }, realSources);
      const key = createPrivateKey(await readFile(keyPath));
      expect(key.asymmetricKeyType).toBe('rsa');
      expect(key.asymmetricKeyDetails?.modulusLength).toBe(4096);
      const shaken = await shakeHands(await load('control-service'), await load('bob'), { maxVersion: 'TLSv1.2' });
      expect(shaken.clientName).toBe('user-bob');
    },
    MINUTE_MS,
  );
});
