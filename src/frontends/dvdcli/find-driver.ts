import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Where a volume plugin listens. */
export interface DriverAddress {
  readonly name: string;
  readonly target: { readonly socketPath: string } | { readonly host: string; readonly port: number };
  /** TLS with what is in these files; plain without. */
  readonly tls: DriverTls | undefined;
}

export interface DriverTls {
  /** Without one the server's certificate is not checked, as in Docker. */
  readonly caFile: string | undefined;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
  readonly insecure: boolean;
}

/** Directories of Docker's plugin discovery. */
export interface DriverDirectories {
  readonly sockets: string;
  readonly specs: readonly string[];
}

export const DOCKER_DIRECTORIES: DriverDirectories = {
  sockets: '/run/docker/plugins',
  specs: ['/etc/docker/plugins', '/usr/lib/docker/plugins'],
};

/** A driver that nobody serves here. */
class DriverNotFound extends Error {
  override readonly name = 'DriverNotFound';
}

/** Finds a plugin as Docker does: a socket first, then `.spec` and `.json` files. Fails when there is none. */
export async function findDriver(name: string, directories: DriverDirectories): Promise<DriverAddress> {
  // The name comes from a task, and dvdcli runs as root.
  if (!/^[\w][\w.-]*$/.test(name)) throw new DriverNotFound(`${JSON.stringify(name)} is no name of a volume driver`);
  for (const path of candidates(directories.sockets, name, '.sock')) {
    if ((await stat(path).catch(() => undefined))?.isSocket() === true)
      return { name, target: { socketPath: path }, tls: undefined };
  }
  for (const directory of directories.specs) {
    for (const path of [...candidates(directory, name, '.spec'), ...candidates(directory, name, '.json')]) {
      const text = await readFile(path, 'utf8').catch(() => undefined);
      if (text !== undefined) return path.endsWith('.json') ? fromJson(name, path, text) : fromSpec(name, path, text);
    }
  }
  throw new DriverNotFound(
    `there is no volume driver ${name}: no ${name}.sock in ${directories.sockets}, and no ${name}.spec or ${name}.json in ` +
      directories.specs.join(' or '),
  );
}

function candidates(directory: string, name: string, extension: string): string[] {
  return [join(directory, `${name}${extension}`), join(directory, name, `${name}${extension}`)];
}

function fromSpec(name: string, path: string, text: string): DriverAddress {
  return { name, target: targetOf(text.trim(), path), tls: undefined };
}

function fromJson(name: string, path: string, text: string): DriverAddress {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    parsed = undefined;
  }
  const { Addr, TLSConfig } = fields(parsed);
  if (typeof Addr !== 'string') throw new Error(`${path} has no "Addr" of a volume driver`);
  const target = targetOf(Addr, path);
  if (TLSConfig === undefined || TLSConfig === null) return { name, target, tls: undefined };
  const { CAFile, CertFile, KeyFile, InsecureSkipVerify } = fields(TLSConfig);
  const caFile = filled(CAFile);
  const tls = {
    ...{ caFile, certFile: filled(CertFile), keyFile: filled(KeyFile) },
    insecure: InsecureSkipVerify === true || caFile === undefined,
  };
  return { name, target, tls };
}

function targetOf(address: string, path: string): DriverAddress['target'] {
  const [, scheme, rest = ''] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/is.exec(address) ?? [];
  if (scheme === 'unix' && rest.startsWith('/')) return { socketPath: rest };
  const [, host, port] = /^(?:\[([^\]]+)\]|[^/:]+):(\d{1,5})\/?$/.exec(rest) ?? [];
  if (scheme !== undefined && scheme !== 'unix' && port !== undefined)
    return { host: host ?? rest.slice(0, rest.indexOf(':')), port: Number(port) };
  throw new Error(
    `${path}: ${JSON.stringify(address)} is no address of a volume driver, as unix:///path or tcp://host:port`,
  );
}

function fields(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}

function filled(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
