import { resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { errorText } from '../kit/coded-error.ts';
import type { CertificateDescription } from '../tls/describe-certificate.ts';
import type { CaEnvironment } from './ca.ts';

interface InspectOptions {
  readonly within: number;
  readonly json?: true;
}

/** `inspect FILE…`: what certificates are for and until when; exit status 1 when one is not valid, or not for long. */
export function inspectCommand(environment: CaEnvironment): Command {
  return new Command('inspect')
    .description('Show what certificates are for and how long they are valid.')
    .argument('<file...>', 'certificates: cluster.crt, node.crt, control-service.crt, plugin.crt, …')
    .option('--within <days>', 'fail as well when one ends within so many days', parseDays, 0)
    .option('--json', 'print one JSON array')
    .addHelpText(
      'after',
      '\nExit status: 0 when all are valid, and go on being so for as long as asked; 1 otherwise.\n' +
        '\nExamples:\n  flocker-ca inspect /etc/flocker/*.crt\n  flocker-ca inspect --within 30 /etc/flocker/node.crt || mail -s renew ops\n',
    )
    .action(async (files: readonly string[], options: InspectOptions) => {
      const { cwd, clock, stdout, stderr, setExitCode } = environment;
      const [{ readPemFile }, { describeCertificate }] = await Promise.all([
        import('../tls/pem-file.ts'),
        import('../tls/describe-certificate.ts'),
      ]);
      const found: (CertificateDescription & { readonly file: string })[] = [];
      for (const file of files) {
        try {
          const pem = await readPemFile(resolve(cwd, file), 'Certificate file could not be opened.');
          found.push({ file, ...describeCertificate(pem, clock.wallMs()) });
        } catch (error) {
          stderr.write(`Error: ${errorText(error)}\n`);
          setExitCode(1);
        }
      }
      if (options.json === true) stdout.write(`${JSON.stringify(found)}\n`);
      else for (const description of found) stdout.write(textOf(description));
      const ends = ({ isValid, daysLeft }: CertificateDescription): boolean => !isValid || daysLeft < options.within;
      if (found.some(ends)) setExitCode(1);
    });
}

function textOf(description: CertificateDescription & { readonly file: string }): string {
  const { file, role, name, clusterId, hosts, validFrom, validTo, issuer, fingerprint256 } = description;
  const lines = [
    ['role', name === null ? role : `${role} ${name}`],
    ['cluster', clusterId ?? '-'],
    ...(hosts.length === 0 ? [] : [['for', hosts.join(', ')]]),
    ['valid', `${validFrom} to ${validTo} (${validity(description)})`],
    ['issuer', issuer],
    ['sha256', fingerprint256],
  ];
  return `${file}\n${lines.map(([key, value]) => `  ${(key ?? '').padEnd(9)}${value}\n`).join('')}`;
}

function validity({ isValid, daysLeft }: CertificateDescription): string {
  if (isValid) return `${daysLeft} days left`;
  return daysLeft < 0 ? `ENDED ${-daysLeft} days ago` : 'NOT VALID YET';
}

function parseDays(text: string): number {
  const days = Number(text);
  if (!/^\d+$/.test(text) || days > 36_500) throw new InvalidArgumentError('It must be a number of days.');
  return days;
}
