import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/kit/clock.ts';
import type { NodeId } from '../../src/kit/ids.ts';
import { initializeAuthority, loadAuthority } from '../../src/tls/authority.ts';
import { type CertificateSources, signCertificate } from '../../src/tls/certificate.ts';
import type { Credentials } from '../../src/tls/credentials.ts';
import { newKeyPair, privateKeyPem } from '../../src/tls/key-pair.ts';
import {
  createControlCertificate,
  createNodeCertificate,
  createUserCertificate,
  type LeafRequest,
} from '../../src/tls/leaf.ts';
import type { PairPaths } from '../../src/tls/pem-pair.ts';

const sources: CertificateSources = { clock: systemClock, newUuid: randomUUID, randomBytes };
/** Longer than any certificate of flocker-ca is valid. */
const LONG_AGO_MS = 21 * 365 * 86_400_000;

/** The authority of one test cluster and the certificates it gives out, each with a key of its own. */
export interface ClusterCertificates {
  control(): Promise<Credentials>;
  user(name: string): Promise<Credentials>;
  node(): Promise<Credentials & { readonly nodeId: NodeId }>;
  /** A certificate with any common name; `expired` ended a year ago, `early` begins tomorrow. */
  named(commonName: string, options?: { readonly expired?: boolean; readonly early?: boolean }): Promise<Credentials>;
  dispose(): Promise<void>;
}

/** Makes the authority of a new cluster in a directory of its own. */
export async function clusterCertificates(name: string): Promise<ClusterCertificates> {
  const directory = await mkdtemp(join(tmpdir(), 'flocker-ca-'));
  const request: LeafRequest = { authorityDirectory: directory, outputDirectory: directory, keyType: 'ec' };
  const { certificatePath } = await initializeAuthority({ directory, name, keyType: 'ec' }, sources);
  const ca = await readFile(certificatePath, 'utf8');
  const credentials = async (paths: PairPaths): Promise<Credentials> => ({
    ca,
    cert: await readFile(paths.certificatePath, 'utf8'),
    key: await readFile(paths.keyPath, 'utf8'),
  });
  return {
    control: async () =>
      credentials(
        await createControlCertificate({ ...request, baseName: randomUUID(), hostname: '127.0.0.1' }, sources),
      ),
    user: async (user) =>
      credentials(await createUserCertificate({ ...request, baseName: randomUUID(), name: user }, sources)),
    node: async () => {
      const { nodeId, ...paths } = await createNodeCertificate(request, sources);
      return { ...(await credentials(paths)), nodeId };
    },
    named: async (commonName, { expired = false, early = false } = {}) => {
      const { issuer, clusterId } = await loadAuthority(directory, systemClock);
      const keys = await newKeyPair('ec');
      const signedAt = {
        ...systemClock,
        wallMs: () => systemClock.wallMs() - (expired ? LONG_AGO_MS : 0) + (early ? 86_400_000 : 0),
      };
      const holder = { clusterId, commonName, use: { kind: 'user' }, keys } as const;
      const cert = await signCertificate(holder, issuer, { ...sources, clock: signedAt });
      return { ca, cert, key: privateKeyPem(keys) };
    },
    dispose: () => rm(directory, { recursive: true, force: true }),
  };
}
