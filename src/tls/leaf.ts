import { type NodeId, parseNodeId } from '../kit/ids.ts';
import { loadAuthority } from './authority.ts';
import { type CertificateSources, type CertificateUse, signCertificate } from './certificate.ts';
import { CONTROL_SERVICE_NAME } from './credentials.ts';
import { type KeyType, newKeyPair, privateKeyPem } from './key-pair.ts';
import { type PairPaths, writePemPair } from './pem-pair.ts';
import { parseServerName, requireUserName, type ServerName } from './subject-names.ts';
import { TlsError } from './tls-error.ts';

/** Where the authority is, and how and where the new pair is written. */
export interface LeafRequest {
  /** Holds `cluster.crt` and `cluster.key`. */
  readonly authorityDirectory: string;
  readonly outputDirectory: string;
  readonly keyType: KeyType;
  /** The files' name without `.crt` and `.key`; by default the original's. */
  readonly baseName?: string;
}

export interface LeafPair extends PairPaths {
  readonly clusterId: string;
}

interface Leaf {
  readonly commonName: string;
  readonly baseName: string;
  readonly use: CertificateUse;
}

/** The control service's pair, `control-<hostname>`; `hostname` is a DNS name or an IP address that clients dial. */
export async function createControlCertificate(
  request: LeafRequest & { readonly hostname: string },
  sources: CertificateSources,
): Promise<LeafPair> {
  const dialled = parseServerName(request.hostname);
  const fixed: ServerName = { type: 'dns', value: CONTROL_SERVICE_NAME };
  const names = dialled.value === fixed.value ? [fixed] : [fixed, dialled];
  const baseName = `control-${request.hostname}`;
  const leaf: Leaf = { commonName: CONTROL_SERVICE_NAME, baseName, use: { kind: 'control', names } };
  return await createLeaf(request, leaf, sources);
}

/** A node agent's pair, named after a new node id, or after `nodeId` to renew that node's certificate. */
export async function createNodeCertificate(
  request: LeafRequest & { readonly nodeId?: string },
  sources: CertificateSources,
): Promise<LeafPair & { readonly nodeId: NodeId }> {
  const text = request.nodeId ?? sources.newUuid();
  const nodeId = parseNodeId(text);
  if (nodeId === undefined) throw new TlsError('bad_name', `Invalid node id: "${text}" is no UUID of version 4.`);
  const leaf: Leaf = { commonName: `node-${nodeId}`, baseName: nodeId, use: { kind: 'node' } };
  return { ...(await createLeaf(request, leaf, sources)), nodeId };
}

/** An API user's pair; `plugin` is the Docker plugin's. */
export async function createUserCertificate(
  request: LeafRequest & { readonly name: string },
  sources: CertificateSources,
): Promise<LeafPair> {
  const name = requireUserName(request.name);
  return await createLeaf(request, { commonName: `user-${name}`, baseName: name, use: { kind: 'user' } }, sources);
}

async function createLeaf(request: LeafRequest, leaf: Leaf, sources: CertificateSources): Promise<LeafPair> {
  const { issuer, clusterId } = await loadAuthority(request.authorityDirectory, sources.clock);
  const keys = await newKeyPair(request.keyType);
  const certificate = await signCertificate({ ...leaf, clusterId, keys }, issuer, sources);
  const pem = { certificate, key: privateKeyPem(keys) };
  const paths = await writePemPair(request.outputDirectory, request.baseName ?? leaf.baseName, pem);
  return { ...paths, clusterId };
}
