import { createPrivateKey, sign } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openssl } from './openssl.ts';

/** A leaf as the original's tool made it. */
export interface OriginalLeaf {
  readonly baseName: string;
  readonly commonName: string;
  /** Lines of an openssl extension section. */
  readonly extensions: readonly string[];
}

const CONFIG = `
[req]
prompt = no
distinguished_name = dn
string_mask = default
[dn]
OU = CLUSTER_ID
CN = COMMON_NAME
[ca]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
[leaf]
`;
/** `[0] EXPLICIT INTEGER 2`: the version field of a version 3 certificate. */
const VERSION_3 = Buffer.from('a003020102', 'hex');
const SEQUENCE = 0x30;
const BIT_STRING = 0x03;

/**
 * Makes `cluster.crt` and `cluster.key` as the original's tool did, with RSA-4096, PKCS#1, and no version field in spite
 * of the extensions; and leaves signed by it in the same way.
 */
export async function makeOriginalCluster(
  directory: string,
  clusterId: string,
  leaves: readonly OriginalLeaf[],
): Promise<void> {
  const caKey = join(directory, 'cluster.key');
  const caCert = join(directory, 'cluster.crt');
  const config = join(directory, 'openssl.cnf');
  await openssl('genrsa', '-traditional', '-out', caKey, '4096');
  await writeFile(config, CONFIG.replace('CLUSTER_ID', clusterId).replace('COMMON_NAME', 'mycluster'));
  const days = ['-sha256', '-days', '7300'];
  await openssl('req', '-config', config, '-x509', '-extensions', 'ca', '-key', caKey, ...days, '-out', caCert);
  await removeVersion(caCert, caKey);
  for (const leaf of leaves) {
    const [key, csr, cert] = ['key', 'csr', 'crt'].map((suffix) => join(directory, `${leaf.baseName}.${suffix}`));
    if (key === undefined || csr === undefined || cert === undefined) throw new Error('three paths');
    const filled = CONFIG.replace('CLUSTER_ID', clusterId).replace('COMMON_NAME', leaf.commonName);
    await writeFile(config, `${filled}${leaf.extensions.join('\n')}\n`);
    await openssl('req', '-config', config, '-newkey', 'rsa:2048', '-noenc', '-keyout', key, '-out', csr);
    const signer = ['-CA', caCert, '-CAkey', caKey, '-set_serial', `0x${'7f'.repeat(16)}`];
    const extensions = ['-extfile', config, '-extensions', 'leaf'];
    await openssl('x509', '-req', '-in', csr, ...signer, ...days, ...extensions, '-out', cert);
    await removeVersion(cert, caKey);
    await rm(csr);
  }
  await rm(config);
}

/** Turns a certificate into the version 1 encoding with extensions, and signs it again. */
async function removeVersion(certPath: string, caKeyPath: string): Promise<void> {
  const pem = await readFile(certPath, 'utf8');
  const der = Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
  const [tbs, algorithm] = children(contents(der));
  if (tbs === undefined || algorithm === undefined) throw new Error('no certificate');
  const fields = contents(tbs);
  // openssl gives a leaf without extensions no version field in the first place.
  if (!fields.subarray(0, VERSION_3.length).equals(VERSION_3)) return;
  const versionless = element(SEQUENCE, fields.subarray(VERSION_3.length));
  const signature = sign('sha256', versionless, createPrivateKey(await readFile(caKeyPath)));
  const bits = element(BIT_STRING, Buffer.concat([Buffer.of(0), signature]));
  const base64 = element(SEQUENCE, Buffer.concat([versionless, algorithm, bits])).toString('base64');
  const lines = base64.match(/.{1,64}/g) ?? [];
  await writeFile(certPath, `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`);
}

function header(der: Buffer): { headerBytes: number; contentBytes: number } {
  const first = der.readUInt8(1);
  if (first < 0x80) return { headerBytes: 2, contentBytes: first };
  const lengthBytes = first & 0x7f;
  return { headerBytes: 2 + lengthBytes, contentBytes: der.readUIntBE(2, lengthBytes) };
}

function contents(der: Buffer): Buffer {
  const { headerBytes, contentBytes } = header(der);
  return der.subarray(headerBytes, headerBytes + contentBytes);
}

function children(der: Buffer): Buffer[] {
  if (der.length === 0) return [];
  const { headerBytes, contentBytes } = header(der);
  const end = headerBytes + contentBytes;
  return [der.subarray(0, end), ...children(der.subarray(end))];
}

function element(tag: number, content: Buffer): Buffer {
  if (content.length < 0x80) return Buffer.concat([Buffer.of(tag, content.length), content]);
  const length = Buffer.alloc(3);
  length.writeUInt8(0x82, 0);
  length.writeUInt16BE(content.length, 1);
  return Buffer.concat([Buffer.of(tag), length, content]);
}
