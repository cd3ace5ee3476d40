import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { writeFileDurably } from '../../kit/atomic-file.ts';
import { CodedError, errorCode } from '../../kit/coded-error.ts';

const Settings = Type.Object({
  backend: Type.Union([
    Type.Literal('loopback'),
    Type.Literal('directory'),
    Type.Literal('btrfs'),
    Type.Literal('ceph'),
  ]),
  /** Each node has a pool of its own. */
  poolPerNode: Type.Optional(Type.Boolean()),
  /** How many control services there are; one unless said. */
  controls: Type.Optional(Type.Integer()),
  /** Of the members of etcd, when it is the store. */
  etcd: Type.Optional(Type.Array(Type.Object({ client: Type.Integer(), peer: Type.Integer() }))),
  /** Of Ceph's monitor, when the nodes have their volumes there. */
  ceph: Type.Optional(Type.Object({ v2: Type.Integer(), v1: Type.Integer() })),
  restPort: Type.Integer(),
  agentsPort: Type.Integer(),
  nodes: Type.Array(Type.Object({ uuid: Type.String(), host: Type.String() })),
});
const settings = Compile(Settings);

/** What a cluster on one machine was made with; kept, so that it starts the same way again. */
export type ClusterSettings = Static<typeof Settings>;

/** Where a member of etcd listens: for its clients, and for the other members. */
export type EtcdPorts = NonNullable<ClusterSettings['etcd']>[number];

/** A cluster directory, or a wish for one, that does not work. */
export class ClusterError extends CodedError<'bad_cluster' | 'cluster_failed'> {
  override readonly name = 'ClusterError';
}

/** The settings of an existing cluster, or undefined where there is none yet. */
export async function readSettings(path: string): Promise<ClusterSettings | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    parsed = undefined;
  }
  if (settings.Check(parsed)) return parsed;
  throw new ClusterError('bad_cluster', `${path} is not what "flocker up" writes. Give another --dir.`);
}

export async function writeSettings(path: string, value: ClusterSettings): Promise<void> {
  await writeFileDurably(path, `${JSON.stringify(value, null, 2)}\n`, 0o600);
}

/** Ports of the loopback address that are free now, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => listening(0)));
  const ports = servers.map(({ port }) => port);
  await Promise.all(servers.map(({ close }) => close()));
  return ports;
}

/** Whether nobody listens on a port of the loopback address. */
export async function portIsFree(port: number): Promise<boolean> {
  try {
    const { close } = await listening(port);
    await close();
    return true;
  } catch {
    return false;
  }
}

function listening(port: number): Promise<{ port: number; close: () => Promise<void> }> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      const close = (): Promise<void> =>
        new Promise((closed) => {
          server.close(() => closed());
        });
      resolve({ port: typeof address === 'object' && address !== null ? address.port : port, close });
    });
  });
}
