import { errorCode, errorText } from '../kit/coded-error.ts';

const NOT_FROM_OUR_AUTHORITY: ReadonlySet<string> = new Set([
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
  'CERT_CHAIN_TOO_LONG',
  'PATH_LENGTH_EXCEEDED',
  'INVALID_CA',
  'INVALID_PURPOSE',
]);

const NOT_TLS: ReadonlySet<string> = new Set([
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_HTTP_REQUEST',
]);

/** What a failed handshake with `url` means and what to check, or undefined when `error` is not about TLS. */
export function tlsReason(error: unknown, url: string, identity: string): string | undefined {
  const code = errorCode(error);
  if (code === undefined) return undefined;
  if (NOT_FROM_OUR_AUTHORITY.has(code)) {
    return `${url}: the server's certificate is not signed by the CA given to this client (${code}): check that the address is the control service and that the CA file is the cluster's`;
  }
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') {
    return `${url}: the server's certificate or the CA's is ${code === 'CERT_HAS_EXPIRED' ? 'expired' : 'not valid yet'}: check its dates and the clock of this machine`;
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return `${url}: the server's certificate is for another name (${errorText(error)}): check that the address is the control service and not a node`;
  }
  if (NOT_TLS.has(code)) return `${url}: the server does not speak TLS (${code}): check the port`;
  if (/^ERR_SSL_.*ALERT/.test(code)) return refusedReason(url, identity, code);
  if (code.startsWith('ERR_SSL_') || code.startsWith('CERT_') || code === 'EPROTO') {
    return `${url}: the TLS handshake failed (${errorText(error)})`;
  }
  return undefined;
}

/** The server does not take our certificate. */
export function refusedReason(url: string, identity: string, how: string): string {
  return `${url} refuses the certificate of this client (${how}). It must be a user certificate (CN beginning with "user-") signed by the CA of this cluster; ours is ${identity}`;
}
