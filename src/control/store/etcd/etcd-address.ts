import { StoreError } from '../store.ts';

/** Where an etcd keeps a cluster's state. */
export interface EtcdAddress {
  /** `host:port` of each member. */
  readonly members: readonly string[];
  /** Keys begin with it; ends with `/`. */
  readonly prefix: string;
}

const DEFAULT_PORT = '2379';
const DEFAULT_PREFIX = '/flocker/';
const MOST_MEMBERS = 16;

/** Reads `etcd://host:2379,host/prefix`; undefined when `text` names no etcd. Fails with `store_failed` when it is none that could be. */
export function parseEtcdAddress(text: string): EtcdAddress | undefined {
  if (!text.startsWith('etcd://')) return undefined;
  const [, hosts = '', path = ''] = /^etcd:\/\/([^/?#\s]+)(\/[!-~]*)?$/.exec(text) ?? [];
  const members = hosts.split(',').map((host) => memberAt(host));
  const known = members.flatMap((member) => member ?? []);
  if (known.length < members.length || known.length > MOST_MEMBERS) {
    throw new StoreError(
      'store_failed',
      `"${text}" is no address of etcd: it looks like etcd://host1:2379,host2:2379/prefix`,
    );
  }
  const prefix = path === '' || path === '/' ? DEFAULT_PREFIX : `${path.replace(/\/+$/, '')}/`;
  return { members: known, prefix };
}

function memberAt(host: string): string | undefined {
  const [, name, port = DEFAULT_PORT] = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?$/.exec(host) ?? [];
  return name === undefined || Number(port) < 1 || Number(port) > 65_535 ? undefined : `${name}:${port}`;
}
