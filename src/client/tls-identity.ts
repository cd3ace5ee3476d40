import { X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import { errorText } from '../kit/coded-error.ts';
import { ClientError } from './flocker-client.ts';

/** PEM texts: the cluster's authority, and the certificate and key of a `user-*` made by it. */
export interface TlsIdentity {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** A {@link TlsIdentity} made ready for connections. */
export interface LoadedIdentity {
  readonly context: SecureContext;
  /** Who we are, for messages. */
  readonly description: string;
}

/** Reads the PEM texts. Throws `tls_refused` when they cannot be read or do not belong together. */
export function loadIdentity(tls: TlsIdentity): LoadedIdentity {
  try {
    const context = createSecureContext({ ca: tls.ca, cert: tls.cert, key: tls.key, minVersion: 'TLSv1.2' });
    const certificate = new X509Certificate(tls.cert);
    const subject = certificate.subject.replaceAll('\n', ', ');
    const issuer = certificate.issuer.replaceAll('\n', ', ');
    return { context, description: `${subject}; issued by ${issuer}; valid until ${certificate.validTo}` };
  } catch (error) {
    throw new ClientError(
      'tls_refused',
      `The client certificate, its key or the cluster's CA certificate cannot be used (${errorText(error)}): ` +
        'all three must be PEM, and the key must be the one of the certificate',
      { cause: error },
    );
  }
}
