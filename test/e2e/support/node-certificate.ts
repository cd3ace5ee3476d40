import { randomBytes, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../../../src/kit/clock.ts';
import { createNodeCertificate } from '../../../src/tls/leaf.ts';
import type { NodeCredentials } from '../../support/fake-agent.ts';

/** A certificate for one more node of a cluster that `flocker up` has made. */
export async function nodeCertificateOf(clusterDirectory: string): Promise<NodeCredentials> {
  const authorityDirectory = join(clusterDirectory, 'certificates');
  const { nodeId, certificatePath, keyPath } = await createNodeCertificate(
    { authorityDirectory, outputDirectory: authorityDirectory, keyType: 'ec' },
    { clock: systemClock, newUuid: randomUUID, randomBytes },
  );
  const [ca, cert, key] = await Promise.all(
    [join(authorityDirectory, 'cluster.crt'), certificatePath, keyPath].map((path) => readFile(path, 'utf8')),
  );
  return { nodeId, ca: ca ?? '', cert: cert ?? '', key: key ?? '' };
}
