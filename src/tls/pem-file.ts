import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Clock } from '../kit/clock.ts';
import { errorCode, errorText } from '../kit/coded-error.ts';
import { systemErrorText, TlsError } from './tls-error.ts';

/** PKCS#8 says it in the label, the older forms in a header. */
const ENCRYPTED_KEY = /BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED/;
const CERTIFICATE_BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** The text of a PEM file. `reason` starts the message of a failure, which ends with the system's words and the path. */
export async function readPemFile(path: string, reason: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const code = errorCode(error) === 'ENOENT' ? 'file_missing' : 'file_unreadable';
    throw new TlsError(code, `${reason} ${systemErrorText(error)} ${path}`, { cause: error });
  }
}

/** Every certificate in a PEM text, in order, at least one. */
export function parseCertificates(pem: string, path: string): [X509Certificate, ...X509Certificate[]] {
  try {
    const [first, ...others] = (pem.match(CERTIFICATE_BLOCK) ?? []).map((block) => new X509Certificate(block));
    if (first !== undefined) return [first, ...others];
  } catch (error) {
    throw new TlsError('not_pem', `The certificate cannot be decoded. ${errorText(error)} ${path}`, { cause: error });
  }
  throw new TlsError('not_pem', `The file holds no PEM certificate. ${path}`);
}

/** The private key in a PEM text (PKCS#8, PKCS#1 or SEC1, not encrypted). */
export function parsePrivateKey(pem: string, path: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    const reason = ENCRYPTED_KEY.test(pem)
      ? 'The private key is encrypted; remove its passphrase (openssl pkey).'
      : `The file holds no usable PEM private key. ${errorText(error)}`;
    throw new TlsError('not_pem', `${reason} ${path}`, { cause: error });
  }
}

/** Fails unless `key` is the private half of the certificate's key. */
export function requireMatchingKey(certificate: X509Certificate, key: KeyObject, certPath: string, path: string): void {
  if (certificate.checkPrivateKey(key)) return;
  throw new TlsError('key_mismatch', `The private key does not belong to the certificate ${certPath}. ${path}`);
}

/** Fails unless the clock stands within the certificate's dates. */
export function requireValidNow(certificate: X509Certificate, clock: Clock, path: string): void {
  const now = clock.wallMs();
  if (now < Date.parse(certificate.validFrom)) {
    const hint = "Check this machine's clock.";
    throw new TlsError('not_yet_valid', `The certificate is valid from ${certificate.validFrom}. ${hint} ${path}`);
  }
  if (now > Date.parse(certificate.validTo)) {
    const hint = 'Make a new one with flocker-ca.';
    throw new TlsError('expired', `The certificate expired on ${certificate.validTo}. ${hint} ${path}`);
  }
}
