import { isIP } from 'node:net';
import { parseAnyUuid } from '../kit/ids.ts';
import { TlsError } from './tls-error.ts';

/** ub-common-name of RFC 5280, in characters; OpenSSL refuses to make longer ones. */
const LONGEST_COMMON_NAME = 64;
const HOSTNAME =
  /^(?=.{1,253}$)(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*$/;
const CONTROL_CHARACTER = /\p{Cc}/u;

/** The common name itself when a certificate can carry it. */
function requireCommonName(commonName: string, what: string): string {
  if (CONTROL_CHARACTER.test(commonName)) {
    throw new TlsError('bad_name', `Invalid ${what}: control characters are not allowed.`);
  }
  const { length } = Array.from(commonName);
  if (length > LONGEST_COMMON_NAME) {
    throw new TlsError(
      'bad_name',
      `Invalid ${what}: "${commonName}" has ${length} characters, at most 64 are allowed.`,
    );
  }
  return commonName;
}

/** The cluster's name when it can be an authority's common name. */
export function requireClusterName(name: string): string {
  if (name.trim() === '') throw new TlsError('bad_name', 'Invalid cluster name: it is empty.');
  return requireCommonName(name, 'cluster name');
}

/** The cluster's id in lower case. */
export function requireClusterId(text: string): string {
  const clusterId = parseAnyUuid(text);
  if (clusterId === undefined) throw new TlsError('bad_name', `Invalid cluster id: "${text}" is no UUID.`);
  return clusterId;
}

/** The user's name when it can be a file name and, after `user-`, a common name. */
export function requireUserName(name: string): string {
  if (name === '' || name.startsWith('.') || name.includes('/')) {
    throw new TlsError('bad_name', `Invalid username: "${name}" is empty, starts with a dot or has a slash.`);
  }
  if (name === 'cluster') {
    throw new TlsError('bad_name', 'Invalid username: cluster.crt and cluster.key are the names of the authority.');
  }
  requireCommonName(`user-${name}`, 'username');
  return name;
}

/** An entry of a control certificate's subjectAltName. */
export interface ServerName {
  readonly type: 'ip' | 'dns';
  readonly value: string;
}

/** An IP address, or else a DNS name. */
export function parseServerName(text: string): ServerName {
  if (isIP(text) !== 0 && !text.includes('%')) return { type: 'ip', value: text };
  if (HOSTNAME.test(text)) return { type: 'dns', value: text };
  throw new TlsError('bad_name', `Invalid hostname: "${text}" is neither a DNS name nor an IP address.`);
}
