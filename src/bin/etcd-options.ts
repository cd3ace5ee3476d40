import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { type EtcdAddress, parseEtcdAddress } from '../control/store/etcd/etcd-address.ts';
import type { EtcdAccess } from '../control/store/etcd/etcd-gateway.ts';
import { CodedError, errorText } from '../kit/coded-error.ts';

/** Where an etcd is and how to reach it: paths, as they are given on the command line. */
export interface EtcdOptions {
  readonly address: EtcdAddress;
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly user: string | undefined;
  readonly passwordFile: string | undefined;
}

/** What the command line says of an etcd. */
export interface EtcdFlags {
  readonly store?: string;
  readonly etcdCa?: string;
  readonly etcdCert?: string;
  readonly etcdKey?: string;
  readonly etcdUser?: string;
  readonly etcdPasswordFile?: string;
}

/** Adds the options of {@link EtcdFlags}. */
export function withEtcdFlags(command: Command): Command {
  return withEtcdAccess(
    command.option('--store <address>', 'an etcd: etcd://host1:2379,host2:2379/prefix (default: in the data path)'),
  );
}

/** Adds the options that say how to reach an etcd. */
export function withEtcdAccess(command: Command): Command {
  return command
    .option('--etcd-ca <file>', 'certificates to trust: the connection to etcd is TLS then')
    .option('--etcd-cert <file>', 'certificate to show to etcd')
    .option('--etcd-key <file>', 'its key')
    .option('--etcd-user <name>', 'user of etcd')
    .option('--etcd-password-file <file>', "file with the user's password");
}

/** Undefined when no etcd was named. Fails with `bad_store` for options that do not go together. */
export function etcdOptions(flags: EtcdFlags): EtcdOptions | undefined {
  const bad = (message: string): CodedError<'bad_store'> => new CodedError('bad_store', message);
  const { store, etcdCa: ca, etcdCert: cert, etcdKey: key, etcdUser: user, etcdPasswordFile: passwordFile } = flags;
  if (store === undefined) {
    if ([ca, cert, key, user, passwordFile].some((each) => each !== undefined))
      throw bad('--etcd-… goes with --store etcd://… only.');
    return undefined;
  }
  const address = parseEtcdAddress(store);
  if (address === undefined)
    throw bad(`--store takes an address such as etcd://host1:2379,host2:2379, not "${store}".`);
  if ((cert === undefined) !== (key === undefined)) throw bad('--etcd-cert and --etcd-key go together.');
  if (cert !== undefined && ca === undefined)
    throw bad('--etcd-cert needs --etcd-ca: without it the connection is not encrypted.');
  if ((user === undefined) !== (passwordFile === undefined))
    throw bad('--etcd-user and --etcd-password-file go together.');
  return { address, ca, cert, key, user, passwordFile };
}

/** Reads the files. */
export async function readEtcdOptions(
  options: EtcdOptions,
): Promise<{ readonly address: EtcdAddress } & Pick<EtcdAccess, 'tls' | 'user'>> {
  const { address, user, passwordFile } = options;
  const [ca, cert, key, password] = await Promise.all(
    [options.ca, options.cert, options.key, passwordFile].map(textOf),
  );
  return {
    address,
    ...(ca === undefined
      ? {}
      : { tls: { ca, ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) } }),
    ...(user === undefined ? {} : { user: { name: user, password: (password ?? '').replace(/\r?\n$/, '') } }),
  };
}

async function textOf(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new CodedError('bad_store', `${path} cannot be read: ${errorText(error)}`, { cause: error });
  }
}
