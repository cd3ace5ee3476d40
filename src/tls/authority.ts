import { join } from 'node:path';
import type { Clock } from '../kit/clock.ts';
import { type CertificateSources, type Issuer, issuerOf, signCertificate } from './certificate.ts';
import { certificateIdentity } from './credentials.ts';
import { AUTHORITY_CERTIFICATE, AUTHORITY_KEY } from './file-names.ts';
import { type KeyType, newKeyPair, privateKeyPem, signingKey } from './key-pair.ts';
import { parseCertificates, parsePrivateKey, readPemFile, requireMatchingKey, requireValidNow } from './pem-file.ts';
import { type PairPaths, writePemPair } from './pem-pair.ts';
import { requireClusterId, requireClusterName } from './subject-names.ts';
import { TlsError } from './tls-error.ts';

export interface NewAuthority {
  readonly directory: string;
  /** The cluster's name, the authority's common name. */
  readonly name: string;
  readonly keyType: KeyType;
  /** The UUID of the existing cluster whose authority this one replaces; by default a new one. */
  readonly clusterId?: string;
}

/** A certificate authority that can sign. */
export interface Authority {
  readonly issuer: Issuer;
  /** The cluster's UUID, which every certificate carries as its organizational unit. */
  readonly clusterId: string;
}

const HINT = 'Run "flocker-ca initialize <name>" to make an authority, or give the directory of one with --inputpath.';

/** Makes `cluster.crt` and `cluster.key` for a new cluster. Fails with a {@link TlsError}. */
export async function initializeAuthority(
  request: NewAuthority,
  sources: CertificateSources,
): Promise<PairPaths & { readonly clusterId: string }> {
  const commonName = requireClusterName(request.name);
  const clusterId = requireClusterId(request.clusterId ?? sources.newUuid());
  const keys = await newKeyPair(request.keyType);
  const holder = { clusterId, commonName, use: { kind: 'authority' }, keys } as const;
  const certificate = await signCertificate(holder, undefined, sources);
  const paths = await writePemPair(request.directory, 'cluster', { certificate, key: privateKeyPem(keys) });
  return { ...paths, clusterId };
}

/**
 * Reads `cluster.crt` and `cluster.key`. Takes what the original's tool made: certificates of version 1 that carry
 * extensions all the same, RSA keys, PKCS#1. Fails with a {@link TlsError} that names the file.
 */
export async function loadAuthority(directory: string, clock: Clock): Promise<Authority> {
  const certPath = join(directory, AUTHORITY_CERTIFICATE);
  const keyPath = join(directory, AUTHORITY_KEY);
  const pem = await readPemFile(certPath, `Certificate authority could not be opened. ${HINT}`);
  const keyPem = await readPemFile(keyPath, "The certificate authority's private key could not be opened.");
  const [certificate] = parseCertificates(pem, certPath);
  if (!certificate.ca) {
    throw new TlsError('not_an_authority', `The certificate may not sign others: it is no authority. ${certPath}`);
  }
  const key = parsePrivateKey(keyPem, keyPath);
  requireMatchingKey(certificate, key, certPath, keyPath);
  requireValidNow(certificate, clock, certPath);
  const { clusterId } = certificateIdentity(pem);
  if (clusterId === undefined) {
    const reason = "The authority's subject has no organizational unit with the cluster's UUID.";
    throw new TlsError('not_an_authority', `${reason} ${certPath}`);
  }
  return { issuer: await issuerOf(certificate, await signingKey(key, keyPath)), clusterId };
}
