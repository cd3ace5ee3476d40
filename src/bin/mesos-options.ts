import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { MesosFence } from '../control/mesos/fence-steps.ts';
import type { MesosMasterOptions } from '../control/mesos/mesos-master.ts';
import { CodedError, errorText } from '../kit/coded-error.ts';
import { readAuthorization } from '../mesos/authorization.ts';

/** Which masters of Mesos to listen to and how to reach them: paths, as they are given on the command line. */
export interface MesosOptions {
  readonly urls: readonly string[];
  readonly fence: MesosFence;
  readonly credential: string | undefined;
  readonly tokenFile: string | undefined;
  readonly ca: string | undefined;
}

/** What the command line says of Mesos. */
export interface MesosFlags {
  readonly mesosMaster?: string;
  readonly mesosFence?: MesosFence;
  readonly mesosCredential?: string;
  readonly mesosTokenFile?: string;
  readonly mesosCa?: string;
}

/** Adds the options of {@link MesosFlags}. */
export function withMesosFlags(command: Command): Command {
  return command
    .option(
      '--mesos-master <urls>',
      'masters of Mesos, as in http://10.0.0.1:5050,http://10.0.0.2:5050: declare a node dead when its Mesos agent is gone, ' +
        'where its storage cuts it off (ceph)',
    )
    .addOption(
      new Option(
        '--mesos-fence <word>',
        'which agents count: those that an operator marked gone, or those that the master lost as well (default: gone)',
      ).choices(['gone', 'unreachable']),
    )
    .option('--mesos-credential <file>', 'JSON file with "principal" and "secret" for the masters')
    .option('--mesos-token-file <file>', 'file with a bearer token for the masters')
    .option('--mesos-ca <file>', "certificates to trust, for https (default: the system's)");
}

/** Undefined when no master was named. Fails with `bad_mesos` for options that do not go together. */
export function mesosOptions(flags: MesosFlags): MesosOptions | undefined {
  const { mesosMaster, mesosFence: fence, mesosCredential, mesosTokenFile, mesosCa } = flags;
  if (mesosMaster === undefined) {
    if ([fence, mesosCredential, mesosTokenFile, mesosCa].some((each) => each !== undefined))
      throw bad('--mesos-… goes with --mesos-master http://… only.');
    return undefined;
  }
  if (mesosCredential !== undefined && mesosTokenFile !== undefined)
    throw bad('--mesos-credential and --mesos-token-file cannot both be given.');
  const path = (text: string | undefined): string | undefined => (text === undefined ? undefined : resolve(text));
  return {
    urls: mesosMaster.split(',').map(masterUrl),
    fence: fence ?? 'gone',
    ...{ credential: path(mesosCredential), tokenFile: path(mesosTokenFile), ca: path(mesosCa) },
  };
}

/** Reads the files. */
export async function readMesosOptions(options: MesosOptions): Promise<Omit<MesosMasterOptions, 'clock'>> {
  const { urls, credential: credentialPath, tokenFile: tokenPath, ca } = options;
  try {
    const authorization = await readAuthorization({ credentialPath, tokenPath });
    return {
      urls,
      ...(authorization === undefined ? {} : { authorization }),
      ...(ca === undefined ? {} : { ca: await readFile(ca, 'utf8') }),
    };
  } catch (error) {
    throw new CodedError('bad_mesos', `the access to the Mesos masters: ${errorText(error)}`, { cause: error });
  }
}

function masterUrl(text: string): string {
  const url = URL.canParse(text.trim()) ? new URL(text.trim()) : undefined;
  // What stands behind the port would be dropped.
  if (url !== undefined && /^https?:$/.test(url.protocol) && url.href === `${url.origin}/`) return url.origin;
  throw bad(`--mesos-master takes addresses such as http://10.0.0.1:5050, with commas between them, not "${text}".`);
}

function bad(message: string): CodedError<'bad_mesos'> {
  return new CodedError('bad_mesos', message);
}
