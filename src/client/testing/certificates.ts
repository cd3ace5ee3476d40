// @peculiar/x509 needs the Reflect API in place first.
// oxlint-disable-next-line import/no-unassigned-import
import 'reflect-metadata';
import { KeyObject, webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  type Extension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { TlsIdentity } from '../tls-identity.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;

/** A certificate authority for one test. */
export interface TestAuthority {
  readonly ca: string;
  /** PEM texts of a leaf with this CN; `names` are DNS names and `addresses` IP addresses of its SAN. */
  issue(commonName: string, options?: LeafOptions): Promise<TlsIdentity>;
}

interface LeafOptions {
  readonly names?: readonly string[];
  readonly addresses?: readonly string[];
  /** Days from now to its end; negative is expired. */
  readonly days?: number;
}

/** A new authority with a key of its own. */
export async function testAuthority(commonName: string): Promise<TestAuthority> {
  const issuer = `CN=${commonName}`;
  const authorityKeys = await keyPair();
  const sign = async (
    subject: string,
    publicKey: webcrypto.CryptoKey,
    days: number,
    extensions: Extension[],
  ): Promise<string> => {
    const certificate = await X509CertificateGenerator.create(
      {
        serialNumber: Buffer.from(webcrypto.getRandomValues(new Uint8Array(8)))
          .toString('hex')
          .replace(/^./, '1'),
        subject,
        issuer,
        notBefore: new Date(Date.now() - 30 * DAY_MS),
        notAfter: new Date(Date.now() + days * DAY_MS),
        signingAlgorithm: ALGORITHM,
        publicKey,
        signingKey: authorityKeys.privateKey,
        extensions,
      },
      webcrypto,
    );
    return certificate.toString('pem');
  };
  const ca = await sign(issuer, authorityKeys.publicKey, 30, [new BasicConstraintsExtension(true, 0, true)]);
  return {
    ca,
    issue: async (subject, { names = [], addresses = [], days = 10 } = {}) => {
      const keys = await keyPair();
      const alternatives = [
        ...names.map((value) => ({ type: 'dns' as const, value })),
        ...addresses.map((value) => ({ type: 'ip' as const, value })),
      ];
      const extensions = alternatives.length === 0 ? [] : [new SubjectAlternativeNameExtension(alternatives)];
      const cert = await sign(`CN=${subject}`, keys.publicKey, days, extensions);
      return { ca, cert, key: privateKeyPem(keys.privateKey) };
    },
  };
}

function keyPair(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

function privateKeyPem(key: webcrypto.CryptoKey): string {
  return KeyObject.from(key).export({ type: 'pkcs8', format: 'pem' }).toString();
}
