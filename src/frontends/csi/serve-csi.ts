import { chmod } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { errorText } from '../../kit/coded-error.ts';
import { prepareSocketPath } from '../../kit/socket-file.ts';
import { LastingHolders } from '../../volumes/lasting-holders.ts';
import type { CsiServer } from './csi-server.ts';
import { CSI_PREFIX, type CsiWorld } from './csi-world.ts';

export interface CsiServerOptions extends Omit<CsiWorld, 'holders'> {
  /** Undefined: volumes that are staged stay, and nobody is served. */
  readonly socketPath: string | undefined;
  /** New at every boot of this machine: what was staged in earlier ones is not any more. */
  readonly bootId: string;
}

export interface CsiFrontend {
  /** Closes the socket and lets calls end; volumes stay staged and published. */
  close(): Promise<void>;
}

/** Serves CSI on a unix socket that only its user can open, in a directory with mode 0700. */
export async function serveCsi({ socketPath, bootId, ...options }: CsiServerOptions): Promise<CsiFrontend> {
  const { volumes, clock, logger } = options;
  const holders = new LastingHolders({ volumes, prefix: CSI_PREFIX, bootId, clock, logger });
  if (socketPath === undefined) return { close: () => Promise.resolve() };
  const world: CsiWorld = { ...options, holders };
  let starting: Promise<CsiServer> | undefined;
  const connections = new Set<Socket>();
  const listener = createServer((connection) => {
    connections.add(connection);
    connection.once('close', () => connections.delete(connection));
    connection.on('error', (error) => logger.debug({ error: errorText(error) }, 'a connection for CSI broke'));
    connection.pause();
    starting ??= import('./csi-server.ts').then(({ startCsiServer }) => startCsiServer(world));
    starting.then(
      (server) => server.accept(connection),
      (error: unknown) => {
        logger.error({ error: errorText(error) }, 'CSI cannot be served');
        connection.destroy();
      },
    );
  });
  await prepareSocketPath(socketPath);
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject);
    listener.listen(socketPath, resolve);
  });
  await chmod(socketPath, 0o600);
  return {
    close: async () => {
      const closed = new Promise<void>((resolve) => {
        listener.close(() => resolve());
      });
      await (await starting)?.close();
      for (const connection of connections) connection.destroy();
      await closed;
    },
  };
}
