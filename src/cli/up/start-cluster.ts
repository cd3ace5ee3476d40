import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openBackend } from '../../agent/backends/open-backend.ts';
import { teardownNode } from '../../agent/backends/teardown.ts';
import { DiskPlaces } from '../../agent/host/disk-places.ts';
import { loadKernel } from '../../agent/host/kernel.ts';
import { ReadOnlyViews } from '../../agent/host/read-only-views.ts';
import { removeSharedMountRoot } from '../../agent/host/shared-mount-root.ts';
import { writeFileDurably } from '../../kit/atomic-file.ts';
import { errorText } from '../../kit/coded-error.ts';
import { withDeadline } from '../../kit/deadline.ts';
import type { ClusterBackend } from './cluster-backend.ts';
import { ControlProcesses, FENCE_AFTER_SECONDS } from './control-processes.ts';
import { DaemonProcess } from './daemon-process.ts';
import { Engines } from './engines.ts';
import { type ClusterLayout, clusterLayout } from './layout.ts';
import { awaitLeftovers, lockCluster } from './lock-cluster.ts';
import { type ClusterSources, type ClusterWish, prepareCluster, storageSection } from './prepare-cluster.ts';
import type { ClusterSettings } from './settings.ts';

const TEARDOWN_TIMEOUT_MS = 30_000;

/** `cluster.json`: what programs need to know to use a cluster on one machine. */
export interface ClusterJson {
  readonly control: {
    readonly url: string;
    readonly agents_url: string;
    /** Of the other control services, when there are several; whichever leads answers. */
    readonly other_urls?: readonly string[];
  };
  /** All control services, when there are several. */
  readonly controls?: readonly { readonly url: string; readonly pid: number | null }[];
  /** Members of etcd, when it is the store. */
  readonly etcd?: readonly { readonly url: string; readonly pid: number | null }[];
  /** Daemons of Ceph, when the volumes are there. */
  readonly ceph?: readonly { readonly name: string; readonly pid: number | null }[];
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly nodes: readonly {
    readonly uuid: string;
    readonly host: string;
    readonly mount_root: string;
    readonly socket: string;
    /** Socket for the Mesos isolator's module. */
    readonly isolator: string;
    /** Socket of the Docker volume plugin. */
    readonly docker: string;
    /** Socket of the CSI plugin. */
    readonly csi: string;
    readonly pid: number | null;
  }[];
  readonly pids: { readonly control: number | null };
}

/** A cluster whose daemons run. */
export interface RunningCluster {
  readonly json: ClusterJson;
  readonly backend: ClusterBackend;
  /** It was made by this start. */
  readonly isNew: boolean;
  readonly clusterJsonPath: string;
  readonly volumesPath: string;
  readonly logsPath: string;
  /** A silent node is given up after so long; undefined when a person has to. */
  readonly fenceAfterSeconds: number | undefined;
  /** Kills the agent of a node, counted from 1, and leaves it dead, as if its machine were lost. Its tasks and mounts go on. */
  loseNode(number: number): Promise<void>;
  /** Starts the agent of a lost node again and resolves when it is ready. */
  regainNode(number: number): Promise<void>;
  /** Stops the daemons and takes away what they mounted. Resolves with what could not be taken away, in words. */
  stop(): Promise<readonly string[]>;
}

export interface StartClusterOptions extends ClusterWish, ClusterSources {
  readonly random: () => number;
  /** Program and arguments that run `flocker`. */
  readonly flocker: readonly [string, ...string[]];
}

/** Starts a whole cluster on this machine and resolves when every daemon is ready. */
export async function startCluster(options: StartClusterOptions): Promise<RunningCluster> {
  const { clock, random, flocker } = options;
  const unlock = await lockCluster(options.directory);
  const { layout, settings, isNew } = await prepare(options, unlock);
  let ready = false;
  let writing: Promise<void> = Promise.resolve();
  const describe = (): ClusterJson => ({
    control: {
      url: controls.urls[0] ?? '',
      agents_url: `https://127.0.0.1:${settings.agentsPort}`,
      ...(controls.urls.length > 1 ? { other_urls: controls.urls.slice(1) } : {}),
    },
    ...(controls.urls.length > 1 ? { controls: controls.described } : {}),
    ...engines?.described,
    tls: {
      ca: join(layout.certificates, 'cluster.crt'),
      cert: join(layout.certificates, 'user.crt'),
      key: join(layout.certificates, 'user.key'),
    },
    nodes: settings.nodes.map(({ uuid, host }, index) => ({
      uuid,
      host,
      mount_root: layout.node(index + 1).mountRoot,
      socket: layout.node(index + 1).socket,
      isolator: layout.node(index + 1).isolator,
      docker: layout.node(index + 1).docker,
      csi: layout.node(index + 1).csi,
      pid: agents[index]?.pid ?? null,
    })),
    pids: { control: controls.described[0]?.pid ?? null },
  });
  const publish = (): Promise<void> => {
    writing = writing.then(() =>
      writeFileDurably(layout.clusterJson, `${JSON.stringify(describe(), null, 2)}\n`, 0o600),
    );
    return writing;
  };
  const onStart = (): void => {
    if (ready) void publish();
  };
  const daemon = (name: string, logPath: string, args: readonly string[], onReady?: () => void): DaemonProcess =>
    new DaemonProcess({
      ...{ name, command: [...flocker, ...args], logPath, clock, random, onStart },
      ...(onReady === undefined ? {} : { onReady }),
    });
  let engines: Engines | undefined;
  const controls = new ControlProcesses(layout, settings, daemon);
  const agents = settings.nodes.map((_node, index) => {
    const node = layout.node(index + 1);
    return daemon(`agent of node ${index + 1}`, node.log, ['agent', '--agent-config', node.agentYml]);
  });
  const stop = async (): Promise<readonly string[]> => {
    ready = false;
    await Promise.all(agents.map((agent) => agent.stop()));
    await controls.stop();
    await writing;
    // Without them no volume was mounted.
    const left = engines === undefined ? [] : await takeAway(options, layout, settings);
    await engines?.stop();
    await unlock();
    return left;
  };
  try {
    engines = await Engines.start(layout, settings, { clock, random, onStart, newUuid: options.newUuid });
    await controls.start(clock, engines.storeUrl);
    await Promise.all(agents.map((agent) => agent.start()));
    ready = true;
    await publish();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    get json() {
      return describe();
    },
    backend: settings.backend,
    isNew,
    fenceAfterSeconds: settings.backend === 'ceph' ? FENCE_AFTER_SECONDS : undefined,
    clusterJsonPath: layout.clusterJson,
    volumesPath: layout.volumes,
    logsPath: layout.logs,
    loseNode: async (number) => await agents[number - 1]?.halt(),
    regainNode: async (number) => {
      await agents[number - 1]?.start();
      await publish();
    },
    stop,
  };
}

/** Takes everything that the nodes mounted out of the kernel; resolves with what could not be, in words. */
async function takeAway(
  { isRoot, clock }: StartClusterOptions,
  layout: ClusterLayout,
  settings: ClusterSettings,
): Promise<string[]> {
  const left: string[] = [];
  const note = (error: unknown): void => void left.push(errorText(error));
  for (const [index, { uuid }] of settings.nodes.entries()) {
    const { mountRoot, state, disks } = layout.node(index + 1);
    if (isRoot) {
      await new ReadOnlyViews(loadKernel(), join(state, 'read-only')).remove().catch(note);
      await removeDisks(join(state, 'disk-places'), disks).catch(note);
    }
    const what = `taking away the mounts of node ${index + 1}`;
    await withDeadline(clock, TEARDOWN_TIMEOUT_MS, what, undefined, async (signal) => {
      const backend = await openBackend(storageSection(layout, index + 1, settings), { mountRoot, instance: uuid });
      const problems = await teardownNode({ backend, mountRoot, signal });
      left.push(...problems.map(({ message }) => message));
    }).catch(note);
  }
  return left;
}

/** Takes away the mounts that a Mesos agent looks into. */
async function removeDisks(placesPath: string, root: string): Promise<void> {
  const kernel = loadKernel();
  await new DiskPlaces(kernel, placesPath).closeOthers(new Set());
  await removeSharedMountRoot(kernel, root);
}

async function prepare(options: StartClusterOptions, unlock: () => Promise<void>): ReturnType<typeof prepareCluster> {
  try {
    const pids = await recordedPids(clusterLayout(options.directory).clusterJson);
    await awaitLeftovers(options.directory, pids, options.clock);
    return await prepareCluster(options, options);
  } catch (error) {
    await unlock();
    throw error;
  }
}

/** Pids in the `cluster.json` of an earlier start; none when it is missing or torn. */
async function recordedPids(path: string): Promise<number[]> {
  const text = await readFile(path, 'utf8').catch(() => '{}');
  return [...text.matchAll(/"(?:pid|control)": (\d+)/g)].map((match) => Number(match[1]));
}
