import { X509Certificate } from 'node:crypto';
import { certificateIdentity, type PeerRole } from './credentials.ts';

/** What a certificate says, for people who look after it. Dates are ISO 8601 in UTC. */
export interface CertificateDescription {
  readonly role: 'authority' | PeerRole['kind'] | 'unknown';
  /** Of a user its name, of a node its UUID; null for the others. */
  readonly name: string | null;
  readonly clusterId: string | null;
  /** Host names and addresses that a control service's certificate is for. */
  readonly hosts: readonly string[];
  readonly issuer: string;
  readonly validFrom: string;
  readonly validTo: string;
  /** Whole days from now; negative once it has ended. */
  readonly daysLeft: number;
  /** Whether it is valid at `nowMs`. */
  readonly isValid: boolean;
  readonly fingerprint256: string;
}

const DAY_MS = 86_400_000;

/** Describes the first certificate of a PEM text at the moment `nowMs`, milliseconds since the epoch. Fails with `not_pem`. */
export function describeCertificate(pem: string, nowMs: number): CertificateDescription {
  const { role, clusterId } = certificateIdentity(pem);
  const certificate = new X509Certificate(pem);
  const [from, to] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)];
  const kind = role?.kind ?? (certificate.ca ? 'authority' : 'unknown');
  return {
    role: kind,
    name: nameIn(role),
    clusterId: clusterId ?? null,
    hosts: kind === 'control' ? hostsIn(certificate.subjectAltName) : [],
    issuer: certificate.issuer.replaceAll('\n', ', '),
    validFrom: new Date(from).toISOString(),
    validTo: new Date(to).toISOString(),
    daysLeft: Math.floor((to - nowMs) / DAY_MS),
    isValid: from <= nowMs && nowMs <= to,
    fingerprint256: certificate.fingerprint256,
  };
}

function nameIn(role: PeerRole | undefined): string | null {
  switch (role?.kind) {
    case 'user':
      return role.name;
    case 'node':
      return role.nodeId;
    case 'control':
    case undefined:
      return null;
  }
}

function hostsIn(names: string | undefined): string[] {
  return (names ?? '').split(', ').flatMap((name) => /^(?:DNS|IP Address):(.*)$/.exec(name)?.[1] ?? []);
}
