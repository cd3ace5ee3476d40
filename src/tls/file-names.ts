import { join } from 'node:path';

export const AUTHORITY_CERTIFICATE = 'cluster.crt';
/** Lies in the administrator's directory only, never on a cluster's machines. */
export const AUTHORITY_KEY = 'cluster.key';

/** Base names of the installed pairs. */
export type InstalledPair = 'control-service' | 'node' | 'plugin';

/** Paths of the three PEM files that one end of a connection needs. */
export interface CredentialPaths {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** The installed files of one role in a certificates directory: `cluster.crt`, `<pair>.crt`, `<pair>.key`. */
export function installedPaths(directory: string, pair: InstalledPair): CredentialPaths {
  return {
    ca: join(directory, AUTHORITY_CERTIFICATE),
    cert: join(directory, `${pair}.crt`),
    key: join(directory, `${pair}.key`),
  };
}
