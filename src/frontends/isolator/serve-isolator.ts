import { chmod, readFile } from 'node:fs/promises';
import type { Clock } from '../../kit/clock.ts';
import type { Logger } from '../../kit/logger.ts';
import { prepareSocketPath } from '../../kit/socket-file.ts';
import type { Volumes } from '../../volumes/volumes.ts';
import { Containers } from './containers.ts';
import type { NodeName } from './isolator-error.ts';
import { createIsolatorServer } from './isolator-server.ts';
import { LossWatch } from './loss-watch.ts';
import type { OperatorSettings } from './operator-rules.ts';
import { type FindUser, findUser } from './volume-owner.ts';
import { VolumeProbe } from './volume-probe.ts';

export interface IsolatorServerOptions {
  readonly volumes: Volumes;
  readonly socketPath: string;
  readonly node: NodeName;
  readonly settings: OperatorSettings;
  /** Profiles of this node; a wish for another one is refused before anything is made. Unknown unless given. */
  readonly knownProfiles?: () => readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
  /** Identity of this boot of the machine; the kernel's unless given. */
  readonly bootId?: string;
  /** The node's user database unless given. */
  readonly findUser?: FindUser;
  /** Between two looks at the volumes of a watched container, milliseconds; 5,000 unless given. */
  readonly lookMs?: number;
}

export interface IsolatorServer {
  /** Closes the socket and all connections; containers keep their volumes, those being prepared get none. */
  close(): Promise<void>;
}

/** Serves the calls of the Mesos isolator module on a unix socket that only its user can open. */
export async function serveIsolator(options: IsolatorServerOptions): Promise<IsolatorServer> {
  const { volumes, socketPath, settings, clock, logger, node, knownProfiles, lookMs = 5_000 } = options;
  await prepareSocketPath(socketPath);
  const bootId = options.bootId ?? (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  const containers = new Containers({
    ...{ volumes, knownProfiles, clock, logger, bootId, rules: settings.rules, findUser: options.findUser ?? findUser },
  });
  await containers.endThoseOfEarlierBoots();
  const probe = new VolumeProbe();
  const server = createIsolatorServer({
    ...{ containers, volumes, settings, node, clock, logger, probe },
    lossWatch: new LossWatch({ volumes, probe, clock, node, lookMs }),
  });
  const close = async (): Promise<void> => {
    await server.close();
    await containers.idle();
  };
  try {
    await server.listen({ path: socketPath });
    await chmod(socketPath, 0o600);
  } catch (error) {
    await close();
    throw error;
  }
  return { close };
}
