import { generateKeyPairSync } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../kit/clock.ts';
import { initializeAuthority } from './authority.ts';
import { type Credentials, certificateIdentity, loadCredentials, peerRole } from './credentials.ts';
import { type CredentialPaths, installedPaths } from './file-names.ts';
import { createControlCertificate, createNodeCertificate, createUserCertificate } from './leaf.ts';
import { shakeHands } from './testing/handshake.ts';
import { scratchDirectory } from './testing/scratch-directory.ts';
import { realSources, sourcesAt } from './testing/sources.ts';

const NODE_ID = '0e6ee4a1-3e0e-4c5d-8d8c-6f1f5c6a7b01';

async function newCluster(): Promise<string> {
  const directory = await scratchDirectory();
  const at = { authorityDirectory: directory, outputDirectory: directory, keyType: 'ec' } as const;
  await initializeAuthority({ directory, name: 'mycluster', keyType: 'ec' }, realSources);
  await createControlCertificate({ ...at, hostname: '127.0.0.1', baseName: 'control-service' }, realSources);
  await createNodeCertificate({ ...at, baseName: 'node' }, realSources);
  await createUserCertificate({ ...at, name: 'plugin' }, realSources);
  return directory;
}

let directory: string;
let paths: CredentialPaths;

beforeEach(async () => {
  directory = await newCluster();
  paths = installedPaths(directory, 'plugin');
});

describe('mutual TLS', () => {
  const load = (from: string, pair: 'control-service' | 'node' | 'plugin'): Promise<Credentials> =>
    loadCredentials(installedPaths(from, pair), systemClock);

  it('lets nodes and users in under the fixed server name, in TLS 1.2 and 1.3', async () => {
    const server = await load(directory, 'control-service');
    const identity = certificateIdentity((await load(directory, 'node')).cert);
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const node = await shakeHands(server, await load(directory, 'node'), { maxVersion });
      expect(peerRole(node.clientName)).toEqual(identity.role);
      const user = await shakeHands(server, await load(directory, 'plugin'), { maxVersion });
      expect(user).toEqual({ clientName: 'user-plugin', protocol: maxVersion });
    }
  });

  it('refuses no certificate, a foreign one and a control certificate', async () => {
    const server = await load(directory, 'control-service');
    const foreign = await load(await newCluster(), 'plugin');
    await expect(shakeHands(server, { ca: server.ca })).rejects.toThrow(/did not return a certificate|required/);
    const stranger = shakeHands(server, { ...foreign, ca: server.ca });
    await expect(stranger).rejects.toThrow(/SIGNATURE|ISSUER|SELF_SIGNED|VERIFY/);
    await expect(shakeHands(server, server)).rejects.toThrow(/INVALID_PURPOSE/);
  });

  it('goes on while an authority is replaced, with both in cluster.crt', async () => {
    const before = certificateIdentity((await load(directory, 'node')).cert);
    if (before.role?.kind !== 'node' || before.clusterId === undefined) throw new Error('no node certificate');
    const next = await scratchDirectory();
    const at = { authorityDirectory: next, outputDirectory: next, keyType: 'ec' } as const;
    const { clusterId } = before;
    await initializeAuthority({ directory: next, name: 'mycluster-2', keyType: 'ec', clusterId }, realSources);
    await createControlCertificate({ ...at, hostname: '127.0.0.1', baseName: 'control-service' }, realSources);
    await createNodeCertificate({ ...at, baseName: 'node', nodeId: before.role.nodeId }, realSources);
    const both = (await readFile(paths.ca, 'utf8')) + (await readFile(join(next, 'cluster.crt'), 'utf8'));
    for (const place of [directory, next]) await writeFile(join(place, 'cluster.crt'), both);
    expect(certificateIdentity((await load(next, 'node')).cert)).toEqual(before);
    for (const server of [await load(directory, 'control-service'), await load(next, 'control-service')]) {
      for (const client of [await load(directory, 'node'), await load(next, 'node')]) {
        expect(peerRole((await shakeHands(server, client)).clientName)).toEqual(before.role);
      }
    }
  });

  it('refuses a foreign server, a wrong server name and a client certificate as server', async () => {
    const client = await load(directory, 'plugin');
    const foreign = await load(await newCluster(), 'control-service');
    await expect(shakeHands({ ...foreign, ca: client.ca }, client)).rejects.toThrow(
      /verify|signature|self-signed|issuer/i,
    );
    const server = await load(directory, 'control-service');
    await expect(shakeHands(server, client, { servername: 'other.example.com' })).rejects.toThrow(/altnames/);
    await expect(shakeHands(client, client)).rejects.toThrow(/unsuitable|unsupported/i);
  });
});

describe('loadCredentials', () => {
  it('returns the texts of the files', async () => {
    expect(await loadCredentials(paths, systemClock)).toEqual({
      ca: await readFile(paths.ca, 'utf8'),
      cert: await readFile(paths.cert, 'utf8'),
      key: await readFile(paths.key, 'utf8'),
    });
  });

  it.each([
    ['ca', 'Cluster certificate file could not be opened.'],
    ['cert', 'Certificate file could not be opened.'],
    ['key', 'Private key file could not be opened.'],
  ] as const)('names a missing %s', async (which, reason) => {
    const absent = join(directory, 'absent.pem');
    await expect(loadCredentials({ ...paths, [which]: absent }, systemClock)).rejects.toMatchObject({
      code: 'file_missing',
      message: `${reason} No such file or directory ${absent}`,
    });
  });

  it('names a file that cannot be read or decoded', async () => {
    const unreadable = join(directory, 'directory');
    await mkdir(unreadable);
    await expect(loadCredentials({ ...paths, key: unreadable }, systemClock)).rejects.toMatchObject({
      code: 'file_unreadable',
      message: `Private key file could not be opened. Is a directory ${unreadable}`,
    });
    const text = join(directory, 'text');
    await writeFile(text, 'hello');
    for (const which of ['ca', 'cert', 'key'] as const) {
      await expect(loadCredentials({ ...paths, [which]: text }, systemClock)).rejects.toMatchObject({
        code: 'not_pem',
        message: expect.stringContaining(text) as string,
      });
    }
    await writeFile(text, '-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n');
    await expect(loadCredentials({ ...paths, cert: text }, systemClock)).rejects.toMatchObject({ code: 'not_pem' });
  });

  it('says that a key is encrypted', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const options = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' } as const;
    await writeFile(paths.key, privateKey.export(options));
    await expect(loadCredentials(paths, systemClock)).rejects.toMatchObject({
      code: 'not_pem',
      message: expect.stringMatching(/encrypted.+plugin\.key$/) as string,
    });
  });

  it('refuses the key of another certificate', async () => {
    await expect(loadCredentials({ ...paths, key: join(directory, 'node.key') }, systemClock)).rejects.toMatchObject({
      code: 'key_mismatch',
      message: expect.stringMatching(/node\.key$/) as string,
    });
  });

  it('refuses a certificate of another authority of the same name', async () => {
    const ca = join(await newCluster(), 'cluster.crt');
    await expect(loadCredentials({ ...paths, ca }, systemClock)).rejects.toMatchObject({ code: 'foreign_authority' });
  });

  it('takes several authorities in cluster.crt', async () => {
    const other = await readFile(join(await newCluster(), 'cluster.crt'), 'utf8');
    await writeFile(paths.ca, other + (await readFile(paths.ca, 'utf8')));
    expect((await loadCredentials(paths, systemClock)).ca).toContain(other);
  });

  it('refuses certificates outside their dates', async () => {
    const now = systemClock.wallMs();
    const early = loadCredentials(paths, sourcesAt(now - 3_600_000).clock);
    await expect(early).rejects.toMatchObject({
      code: 'not_yet_valid',
      message: expect.stringMatching(/\.crt$/) as string,
    });
    const late = loadCredentials(paths, sourcesAt(now + 21 * 365 * 86_400_000).clock);
    await expect(late).rejects.toMatchObject({ code: 'expired', message: expect.stringMatching(/\.crt$/) as string });
  });
});

describe('peerRole', () => {
  it('knows the three roles', () => {
    expect(peerRole('control-service')).toEqual({ kind: 'control' });
    expect(peerRole(`node-${NODE_ID}`)).toEqual({ kind: 'node', nodeId: NODE_ID });
    expect(peerRole(`node-${NODE_ID.toUpperCase()}`)).toEqual({ kind: 'node', nodeId: NODE_ID });
    expect(peerRole('user-node-1')).toEqual({ kind: 'user', name: 'node-1' });
  });

  it.each([undefined, '', 'mycluster', 'user-', 'node-', 'node-1', 'Control-service', ' user-x', ['user-a', 'user-b']])(
    'gives %j none',
    (commonName) => {
      expect(peerRole(commonName)).toBeUndefined();
    },
  );
});

describe('certificateIdentity', () => {
  it('gives the authority a cluster and no role', async () => {
    const authority = certificateIdentity(await readFile(paths.ca, 'utf8'));
    const user = certificateIdentity(await readFile(paths.cert, 'utf8'));
    expect(authority).toEqual({ role: undefined, clusterId: user.clusterId });
    expect(user.role).toEqual({ kind: 'user', name: 'plugin' });
  });

  it('refuses what is no certificate', () => {
    expect(() => certificateIdentity('hello')).toThrow(expect.objectContaining({ code: 'not_pem' }));
  });
});
