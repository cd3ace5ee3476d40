import { X509Certificate } from 'node:crypto';
import type { Clock } from '../kit/clock.ts';
import { errorText } from '../kit/coded-error.ts';
import { type NodeId, parseNodeId } from '../kit/ids.ts';
import type { CredentialPaths } from './file-names.ts';
import { parseCertificates, parsePrivateKey, readPemFile, requireMatchingKey, requireValidNow } from './pem-file.ts';
import { TlsError } from './tls-error.ts';

/** PEM texts, under the names that node:tls, node:https and undici give them. */
export interface Credentials {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** The name that every control certificate carries, whatever address was dialled: give it as `servername`. */
export const CONTROL_SERVICE_NAME = 'control-service';

/** Who a certificate says its holder is. */
export type PeerRole =
  | { readonly kind: 'user'; readonly name: string }
  | { readonly kind: 'node'; readonly nodeId: NodeId }
  | { readonly kind: 'control' };

export interface CertificateIdentity {
  /** Undefined for the authority's own certificate and for any foreign naming. */
  readonly role: PeerRole | undefined;
  /** The subject's organizational unit: the cluster's UUID. */
  readonly clusterId: string | undefined;
}

/**
 * Reads and checks the three files of one end of a connection. `cluster.crt` may hold several authorities, as it does
 * while one is being replaced. Fails with a {@link TlsError} that names the file.
 */
export async function loadCredentials(paths: CredentialPaths, clock: Clock): Promise<Credentials> {
  const [ca, cert, key] = await Promise.all([
    readPemFile(paths.ca, 'Cluster certificate file could not be opened.'),
    readPemFile(paths.cert, 'Certificate file could not be opened.'),
    readPemFile(paths.key, 'Private key file could not be opened.'),
  ]);
  const authorities = parseCertificates(ca, paths.ca);
  const [certificate] = parseCertificates(cert, paths.cert);
  requireMatchingKey(certificate, parsePrivateKey(key, paths.key), paths.cert, paths.key);
  const signers = authorities.filter((authority) => signed(authority, certificate));
  const [signer] = signers;
  if (signer === undefined) {
    throw new TlsError('foreign_authority', `The certificate was not signed by ${paths.ca}. ${paths.cert}`);
  }
  requireValidNow(certificate, clock, paths.cert);
  // A renewed authority keeps its name and key, so an expired copy of it may stand beside the one in force.
  if (!signers.some((authority) => isValidNow(authority, clock))) requireValidNow(signer, clock, paths.ca);
  return { ca, cert, key };
}

/**
 * The role in a peer's common name, as `tlsSocket.getPeerCertificate().subject?.CN` gives it; undefined when it is none of
 * Flocker's. A subject with several common names has no role.
 */
export function peerRole(subjectCN: string | readonly string[] | undefined): PeerRole | undefined {
  if (typeof subjectCN !== 'string') return undefined;
  if (subjectCN === CONTROL_SERVICE_NAME) return { kind: 'control' };
  if (subjectCN.startsWith('node-')) {
    const nodeId = parseNodeId(subjectCN.slice('node-'.length));
    return nodeId === undefined ? undefined : { kind: 'node', nodeId };
  }
  const name = subjectCN.startsWith('user-') ? subjectCN.slice('user-'.length) : '';
  return name === '' ? undefined : { kind: 'user', name };
}

/** Role and cluster in the first certificate of a PEM text. Fails with `not_pem`. */
export function certificateIdentity(pem: string): CertificateIdentity {
  try {
    return identityOf(new X509Certificate(pem));
  } catch (error) {
    throw new TlsError('not_pem', `The certificate cannot be decoded. ${errorText(error)}`, { cause: error });
  }
}

function identityOf(certificate: X509Certificate): CertificateIdentity {
  // The legacy object has the attributes unescaped; `certificate.subject` would need parsing.
  const { subject } = certificate.toLegacyObject();
  return { role: peerRole(subject.CN), clusterId: typeof subject.OU === 'string' ? subject.OU : undefined };
}

function signed(authority: X509Certificate, certificate: X509Certificate): boolean {
  return certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
}

function isValidNow(certificate: X509Certificate, clock: Clock): boolean {
  const now = clock.wallMs();
  return now >= Date.parse(certificate.validFrom) && now <= Date.parse(certificate.validTo);
}
