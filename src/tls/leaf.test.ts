import { X509Certificate } from 'node:crypto';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { initializeAuthority } from './authority.ts';
import { certificateIdentity } from './credentials.ts';
import { createControlCertificate, createNodeCertificate, createUserCertificate } from './leaf.ts';
import { hasOpenssl, openssl } from './testing/openssl.ts';
import { scratchDirectory } from './testing/scratch-directory.ts';
import { realSources, sourcesAt } from './testing/sources.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const YEARS_20_MS = 20 * 365 * 86_400_000;
const NOW_MS = Date.UTC(2027, 1, 3, 4, 5, 6);

let directory: string;
let clusterId: string;
let at: { authorityDirectory: string; outputDirectory: string; keyType: 'ec' };

beforeEach(async () => {
  directory = await scratchDirectory();
  at = { authorityDirectory: directory, outputDirectory: directory, keyType: 'ec' };
  ({ clusterId } = await initializeAuthority({ directory, name: 'mycluster', keyType: 'ec' }, sourcesAt(NOW_MS)));
});

async function certificate(name: string): Promise<X509Certificate> {
  return new X509Certificate(await readFile(join(directory, `${name}.crt`)));
}

describe('layout', () => {
  it('makes an authority with the cluster as OU and the name as CN', async () => {
    const authority = await certificate('cluster');
    expect(clusterId).toMatch(UUID);
    expect(authority.subject).toBe(`OU=${clusterId}\nCN=mycluster`);
    expect(authority.issuer).toBe(authority.subject);
    expect(authority.ca).toBe(true);
    expect(authority.verify(authority.publicKey)).toBe(true);
  });

  it('names control, node and user as the original does', async () => {
    await createControlCertificate({ ...at, hostname: 'flocker.example.com' }, sourcesAt(NOW_MS));
    const { nodeId } = await createNodeCertificate(at, sourcesAt(NOW_MS));
    await createUserCertificate({ ...at, name: 'zoë' }, sourcesAt(NOW_MS));
    const authority = await certificate('cluster');
    for (const [file, commonName] of [
      ['control-flocker.example.com', 'control-service'],
      [nodeId, `node-${nodeId}`],
      ['zoë', 'user-zoë'],
    ] as const) {
      const leaf = await certificate(file);
      expect(leaf.toLegacyObject().subject).toEqual({ OU: clusterId, CN: commonName });
      expect(leaf.issuer).toBe(authority.subject);
      expect(leaf.checkIssued(authority) && leaf.verify(authority.publicKey)).toBe(true);
      expect(leaf.ca).toBe(false);
      expect(Date.parse(leaf.validFrom)).toBe(NOW_MS);
      expect(Date.parse(leaf.validTo)).toBe(NOW_MS + YEARS_20_MS);
      expect(certificateIdentity(leaf.toString()).clusterId).toBe(clusterId);
    }
    expect(nodeId).toMatch(UUID);
  });

  it('puts the fixed name and the dialled one in a control certificate', async () => {
    await createControlCertificate({ ...at, hostname: 'flocker.example.com' }, sourcesAt(NOW_MS));
    await createControlCertificate({ ...at, hostname: '192.0.2.7' }, sourcesAt(NOW_MS));
    await createControlCertificate({ ...at, hostname: '2001:db8::7' }, sourcesAt(NOW_MS));
    await createControlCertificate({ ...at, hostname: 'control-service' }, sourcesAt(NOW_MS));
    const names = async (hostname: string): Promise<string | undefined> =>
      (await certificate(`control-${hostname}`)).subjectAltName;
    expect(await names('flocker.example.com')).toBe('DNS:control-service, DNS:flocker.example.com');
    expect(await names('192.0.2.7')).toBe('DNS:control-service, IP Address:192.0.2.7');
    expect(await names('2001:db8::7')).toBe('DNS:control-service, IP Address:2001:DB8:0:0:0:0:0:7');
    expect(await names('control-service')).toBe('DNS:control-service');
  });

  it('uses the random bytes as a positive serial of 128 bits', async () => {
    const sources = { ...realSources, randomBytes: (count: number) => new Uint8Array(count).fill(0xfe) };
    await createUserCertificate({ ...at, name: 'alice' }, { ...sources, clock: sourcesAt(NOW_MS).clock });
    expect((await certificate('alice')).serialNumber).toBe('FE'.repeat(16));
  });

  it('writes dates after 2049 so that they can be read', async () => {
    const later = Date.UTC(2035, 0, 1);
    await createUserCertificate({ ...at, name: 'alice' }, sourcesAt(later));
    expect(Date.parse((await certificate('alice')).validTo)).toBe(later + YEARS_20_MS);
  });

  it('takes another base name', async () => {
    const made = await createNodeCertificate({ ...at, baseName: 'node' }, sourcesAt(NOW_MS));
    expect(made.certificatePath).toBe(join(directory, 'node.crt'));
    expect((await readdir(directory)).sort()).toEqual(['cluster.crt', 'cluster.key', 'node.crt', 'node.key']);
  });
});

describe('files', () => {
  it('are readable by their owner only', async () => {
    await createUserCertificate({ ...at, name: 'alice' }, sourcesAt(NOW_MS));
    for (const name of await readdir(directory)) expect((await stat(join(directory, name))).mode & 0o777).toBe(0o600);
  });

  it.each(['crt', 'key'])('are never replaced: an existing .%s stays and its partner is not made', async (suffix) => {
    const existing = join(directory, `alice.${suffix}`);
    await writeFile(existing, 'mine');
    await expect(createUserCertificate({ ...at, name: 'alice' }, sourcesAt(NOW_MS))).rejects.toMatchObject({
      code: 'file_exists',
      message: expect.stringMatching(new RegExp(`^Unable to write .+ file\\. File exists ${existing}$`)) as string,
    });
    expect(await readFile(existing, 'utf8')).toBe('mine');
    expect((await readdir(directory)).sort()).toEqual([`alice.${suffix}`, 'cluster.crt', 'cluster.key']);
  });

  it('keep an authority that is there', async () => {
    const before = await readFile(join(directory, 'cluster.key'), 'utf8');
    const again = initializeAuthority({ directory, name: 'other', keyType: 'ec' }, realSources);
    await expect(again).rejects.toMatchObject({ code: 'file_exists' });
    expect(await readFile(join(directory, 'cluster.key'), 'utf8')).toBe(before);
  });

  it('need their directory', async () => {
    const outputDirectory = join(directory, 'absent');
    const made = createUserCertificate({ ...at, outputDirectory, name: 'alice' }, sourcesAt(NOW_MS));
    await expect(made).rejects.toMatchObject({
      code: 'file_unwritable',
      message: `Unable to write certificate file. No such file or directory ${join(outputDirectory, 'alice.crt')}`,
    });
  });

  it.each(['../alice', 'a/b', '.', '..', '', 'a\nb', 'cluster', 'x'.repeat(60)])('refuse the user %j', async (name) => {
    const made = createUserCertificate({ ...at, name }, sourcesAt(NOW_MS));
    await expect(made).rejects.toMatchObject({ code: 'bad_name' });
    expect((await readdir(directory)).sort()).toEqual(['cluster.crt', 'cluster.key']);
  });

  it.each(['', '../x', 'a b', 'fe80::1%eth0', '-x', 'a..b'])('refuse the host %j', async (hostname) => {
    const made = createControlCertificate({ ...at, hostname }, sourcesAt(NOW_MS));
    await expect(made).rejects.toMatchObject({ code: 'bad_name' });
  });
});

describe('authority', () => {
  it('is asked for when it is missing', async () => {
    const made = createNodeCertificate({ ...at, authorityDirectory: join(directory, 'absent') }, realSources);
    await expect(made).rejects.toMatchObject({
      code: 'file_missing',
      message: expect.stringMatching(
        /flocker-ca initialize.+No such file or directory .+absent\/cluster\.crt$/,
      ) as string,
    });
  });

  it('signs neither before nor after its dates', async () => {
    const early = createNodeCertificate(at, sourcesAt(NOW_MS - 1000));
    await expect(early).rejects.toMatchObject({ code: 'not_yet_valid' });
    const late = createNodeCertificate(at, sourcesAt(NOW_MS + YEARS_20_MS + 1000));
    await expect(late).rejects.toMatchObject({ code: 'expired' });
  });

  it('must be an authority with its own key', async () => {
    const user = await createUserCertificate({ ...at, name: 'alice' }, sourcesAt(NOW_MS));
    const other = await scratchDirectory();
    const swapped = { ...at, authorityDirectory: other };
    await writeFile(join(other, 'cluster.crt'), await readFile(user.certificatePath));
    await writeFile(join(other, 'cluster.key'), await readFile(user.keyPath));
    await expect(createNodeCertificate(swapped, sourcesAt(NOW_MS))).rejects.toMatchObject({ code: 'not_an_authority' });
    await writeFile(join(other, 'cluster.crt'), await readFile(join(directory, 'cluster.crt')));
    await expect(createNodeCertificate(swapped, sourcesAt(NOW_MS))).rejects.toMatchObject({ code: 'key_mismatch' });
  });
});

describe.skipIf(!hasOpenssl)('openssl', () => {
  it('verifies every leaf, strictly, for its purpose, and prints the layout', async () => {
    const fresh = await scratchDirectory();
    const here = { authorityDirectory: fresh, outputDirectory: fresh, keyType: 'ec' } as const;
    await initializeAuthority({ directory: fresh, name: 'mycluster', keyType: 'ec' }, realSources);
    const control = await createControlCertificate({ ...here, hostname: '192.0.2.7' }, realSources);
    const node = await createNodeCertificate(here, realSources);
    const user = await createUserCertificate({ ...here, name: 'plugin' }, realSources);
    const authority = join(fresh, 'cluster.crt');
    const verify = (purpose: string, path: string): Promise<string> =>
      openssl('verify', '-x509_strict', '-purpose', purpose, '-CAfile', authority, path);
    expect(await verify('sslserver', control.certificatePath)).toContain(': OK');
    expect(await verify('sslclient', node.certificatePath)).toContain(': OK');
    expect(await verify('sslclient', user.certificatePath)).toContain(': OK');
    await expect(verify('sslclient', control.certificatePath)).rejects.toThrow(/unsuitable certificate purpose/);
    await expect(verify('sslserver', user.certificatePath)).rejects.toThrow(/unsuitable certificate purpose/);

    const text = (path: string): Promise<string> => openssl('x509', '-noout', '-text', '-in', path);
    const authorityText = await text(authority);
    expect(authorityText).toMatch(/Version: 3 \(0x2\)/);
    expect(authorityText).toMatch(/Signature Algorithm: ecdsa-with-SHA256/);
    expect(authorityText).toMatch(/Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
    expect(authorityText).toMatch(/Key Usage: critical\s+Certificate Sign, CRL Sign/);
    const controlText = await text(control.certificatePath);
    expect(controlText).toMatch(/Version: 3 \(0x2\)/);
    expect(controlText).toMatch(/Alternative Name: \n?\s*DNS:control-service, IP Address:192\.0\.2\.7/);
    expect(controlText).toMatch(/Extended Key Usage: \n?\s*TLS Web Server Authentication\n/);
    expect(controlText).toMatch(/Basic Constraints: critical\s+CA:FALSE/);
    expect(await text(user.certificatePath)).toMatch(/Extended Key Usage: \n?\s*TLS Web Client Authentication\n/);
    expect(await text(node.certificatePath)).not.toMatch(/Extended Key Usage|Alternative Name/);
  });
});
