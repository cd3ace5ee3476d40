import { KeyObject, webcrypto } from 'node:crypto';
import { TlsError } from './tls-error.ts';

/** `ec`: ECDSA on P-256. `rsa`: 4096 bits, as the original's keys; takes seconds to make. */
export type KeyType = 'ec' | 'rsa';

export interface KeyPair {
  readonly publicKey: webcrypto.CryptoKey;
  readonly privateKey: webcrypto.CryptoKey;
}

const ALGORITHMS = {
  ec: { name: 'ECDSA', namedCurve: 'P-256' },
  rsa: {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    modulusLength: 4096,
    publicExponent: new Uint8Array([1, 0, 1]),
  },
} as const;

const CURVES: Readonly<Record<string, string>> = { prime256v1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' };

export async function newKeyPair(keyType: KeyType): Promise<KeyPair> {
  return await webcrypto.subtle.generateKey(ALGORITHMS[keyType], true, ['sign', 'verify']);
}

export function isRsa(keys: KeyPair): boolean {
  return keys.publicKey.algorithm.name === ALGORITHMS.rsa.name;
}

/** The private key as PKCS#8 PEM. */
export function privateKeyPem(keys: KeyPair): string {
  return KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** A private key read from `path`, ready to sign certificates with SHA-256. */
export async function signingKey(key: KeyObject, path: string): Promise<webcrypto.CryptoKey> {
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  return await webcrypto.subtle.importKey('pkcs8', pkcs8, importAlgorithm(key, path), false, ['sign']);
}

function importAlgorithm(key: KeyObject, path: string): webcrypto.RsaHashedImportParams | webcrypto.EcKeyImportParams {
  if (key.asymmetricKeyType === 'rsa') return { name: ALGORITHMS.rsa.name, hash: ALGORITHMS.rsa.hash };
  const namedCurve = CURVES[key.asymmetricKeyDetails?.namedCurve ?? ''];
  if (key.asymmetricKeyType === 'ec' && namedCurve !== undefined) return { name: ALGORITHMS.ec.name, namedCurve };
  const found = key.asymmetricKeyType ?? 'unknown';
  throw new TlsError('not_pem', `The authority's key is neither RSA nor ECDSA on a NIST curve (${found}). ${path}`);
}
