import { X509Certificate } from 'node:crypto';
import { basename } from 'node:path';
import type { Clock } from '../../kit/clock.ts';
import { errorText } from '../../kit/coded-error.ts';
import { certificateIdentity, loadCredentials } from '../../tls/credentials.ts';
import { type CredentialPaths, type InstalledPair, installedPaths } from '../../tls/file-names.ts';
import { type Finding, fault, ok, warning } from './finding.ts';
import type { Machine } from './machine.ts';

const DAY_MS = 86_400_000;
const SOON_DAYS = 30;
const ROLES = { node: 'node', plugin: 'user', 'control-service': 'control' } as const;
const REMEDIES = {
  node: 'Make one with "flocker-ca create-node-certificate" and install it as node.crt and node.key.',
  plugin: 'Make one with "flocker-ca create-api-certificate plugin" and install it as plugin.crt and plugin.key.',
  'control-service':
    'Make one with "flocker-ca create-control-certificate HOST" and install it as control-service.crt and .key.',
} as const;

/** The certificates beside `agent.yml`; those of a control service only where there are some. */
export async function checkCertificates(machine: Machine, directory: string, clock: Clock): Promise<Finding[]> {
  const findings = [
    ...(await checkPair(machine, directory, 'node', clock)),
    ...(await checkPair(machine, directory, 'plugin', clock)),
  ];
  const control = installedPaths(directory, 'control-service');
  if ((await machine.facts(control.cert)) !== undefined)
    findings.push(...(await checkPair(machine, directory, 'control-service', clock)));
  return findings;
}

async function checkPair(machine: Machine, directory: string, pair: InstalledPair, clock: Clock): Promise<Finding[]> {
  const paths = installedPaths(directory, pair);
  try {
    const { ca, cert } = await loadCredentials(paths, clock);
    const role = certificateIdentity(cert).role?.kind;
    if (role !== ROLES[pair])
      return [
        fault(
          `${paths.cert} is not the certificate of a ${ROLES[pair]}, but of ${role ?? 'nothing of ours'}`,
          REMEDIES[pair],
        ),
      ];
    return [expiry(machine, paths.cert, cert), expiry(machine, paths.ca, ca), ...(await keyMode(machine, paths))];
  } catch (error) {
    return [fault(errorText(error), REMEDIES[pair])];
  }
}

function expiry(machine: Machine, path: string, pem: string): Finding {
  const { validTo } = new X509Certificate(pem);
  const days = Math.floor((Date.parse(validTo) - machine.wallMs()) / DAY_MS);
  const text = `${path} is valid for ${days} more days`;
  if (days >= SOON_DAYS) return ok(text);
  return warning(text, 'Renew it before it ends: then no agent can connect (docs/tls.md).');
}

async function keyMode(machine: Machine, { key }: CredentialPaths): Promise<Finding[]> {
  const facts = await machine.facts(key);
  if (facts === undefined || (facts.mode & 0o077) === 0) return [];
  return [fault(`${key} can be read by others than its owner`, `chmod 600 ${basename(key)}`)];
}
