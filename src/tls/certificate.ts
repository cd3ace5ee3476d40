// @peculiar/x509 resolves its parts through tsyringe, which needs the Reflect API in place first.
// oxlint-disable-next-line import/no-unassigned-import
import 'reflect-metadata';
import type { webcrypto, X509Certificate } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Name,
  X509Certificate as ParsedCertificate,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { Clock } from '../kit/clock.ts';
import type { NewUuid } from '../kit/ids.ts';
import { isRsa, type KeyPair } from './key-pair.ts';
import type { ServerName } from './subject-names.ts';

/** Where time and chance come from when certificates are made. Keys always come from the system's own source. */
export interface CertificateSources {
  readonly clock: Clock;
  readonly newUuid: NewUuid;
  readonly randomBytes: (count: number) => Uint8Array;
}

/** What a certificate is for: its extensions follow from it. A node's may serve as well as dial. */
export type CertificateUse =
  | { readonly kind: 'authority' }
  | { readonly kind: 'control'; readonly names: readonly ServerName[] }
  | { readonly kind: 'node' }
  | { readonly kind: 'user' };

/** Whose key is certified, under which subject: exactly an organizational unit and a common name. */
export interface Holder {
  readonly clusterId: string;
  readonly commonName: string;
  readonly use: CertificateUse;
  readonly keys: KeyPair;
}

/** Who signs. */
export interface Issuer {
  /** The subject of the issuer's certificate as DER: copied, so that order and string types stay. */
  readonly name: ArrayBuffer;
  /** The subject key identifier in hexadecimal. */
  readonly keyIdentifier: string;
  readonly signingKey: webcrypto.CryptoKey;
}

const SERIAL_BYTES = 16;
const VALIDITY_MS = 20 * 365 * 24 * 60 * 60 * 1000;

/** A certificate of version 3 as PEM, valid for 20 × 365 days from now. Without an issuer the holder signs itself. */
export async function signCertificate(
  holder: Holder,
  issuer: Issuer | undefined,
  sources: CertificateSources,
): Promise<string> {
  const subject = new Name([{ OU: [{ utf8String: holder.clusterId }] }, { CN: [{ utf8String: holder.commonName }] }]);
  const keyId = await SubjectKeyIdentifierExtension.create(holder.keys.publicKey);
  const signingKey = issuer?.signingKey ?? holder.keys.privateKey;
  const notBeforeMs = sources.clock.wallMs();
  const certificate = await X509CertificateGenerator.create({
    serialNumber: Buffer.from(sources.randomBytes(SERIAL_BYTES)).toString('hex'),
    subject,
    issuer: issuer === undefined ? subject : new Name(issuer.name),
    notBefore: new Date(notBeforeMs),
    notAfter: new Date(notBeforeMs + VALIDITY_MS),
    publicKey: holder.keys.publicKey,
    signingKey,
    signingAlgorithm: { name: signingKey.algorithm.name, hash: 'SHA-256' },
    extensions: [
      ...extensionsFor(holder.use, holder.keys),
      keyId,
      new AuthorityKeyIdentifierExtension(issuer?.keyIdentifier ?? keyId.keyId),
    ],
  });
  return `${certificate.toString('pem')}\n`;
}

/** The issuer that an authority's certificate describes. */
export async function issuerOf(certificate: X509Certificate, signingKey: webcrypto.CryptoKey): Promise<Issuer> {
  const parsed = new ParsedCertificate(certificate.raw);
  const carried = parsed.getExtension(SubjectKeyIdentifierExtension);
  const { keyId } = carried ?? (await SubjectKeyIdentifierExtension.create(parsed.publicKey));
  return { name: parsed.subjectName.toArrayBuffer(), keyIdentifier: keyId, signingKey };
}

function extensionsFor(use: CertificateUse, keys: KeyPair): Extension[] {
  if (use.kind === 'authority') {
    const usage = new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true);
    return [new BasicConstraintsExtension(true, 0, true), usage];
  }
  // Key encipherment is for the RSA key exchange of TLS 1.2, which old peers may pick.
  const usage = isRsa(keys)
    ? new KeyUsagesExtension(KeyUsageFlags.digitalSignature | KeyUsageFlags.keyEncipherment, true)
    : new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true);
  const extensions: Extension[] = [new BasicConstraintsExtension(false, undefined, true), usage];
  if (use.kind === 'control') {
    extensions.push(new SubjectAlternativeNameExtension([...use.names]));
    extensions.push(new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]));
  }
  if (use.kind === 'user') extensions.push(new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth]));
  return extensions;
}
