import { randomUUID } from 'node:crypto';
import { chmod, mkdtemp, rm, stat, symlink, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FlockerClient } from '../../../client/flocker-client.ts';
import { systemClock } from '../../../kit/clock.ts';
import type { NodeId } from '../../../kit/ids.ts';
import { silentLogger } from '../../../kit/logger.ts';
import { VolumesBench } from '../../../volumes/testing/volumes-bench.ts';
import type { Volumes } from '../../../volumes/volumes.ts';
import type { BindMounts, BlockMounts, DeviceKind } from '../csi-world.ts';
import { VolumeCapability_AccessMode_Mode as Mode } from '../generated/csi_pb.ts';
import { type CsiFrontend, type CsiServerOptions, serveCsi } from '../serve-csi.ts';
import { type CsiClient, csiClient } from './csi-client.ts';

/** Symbolic links in the place of bind mounts: enough to see what is shown where, and to be told apart from a directory. */
export class LinkMounts implements BindMounts {
  readonly flags = new Map<string, ReadonlySet<string>>();

  async bind(source: string, target: string, flags: ReadonlySet<string>): Promise<void> {
    if (!(await this.isMounted(target))) await symlink(source, target);
    this.flags.set(target, flags);
  }

  async unbind(target: string): Promise<void> {
    if (this.flags.delete(target)) await unlink(target);
  }

  async isMounted(target: string): Promise<boolean> {
    return this.flags.has(target);
  }
}

/** Links in the place of block devices; a volume's file is a number here. */
export class LinkBlocks implements BlockMounts {
  readonly #mounts: LinkMounts;
  /** Sizes by directory. */
  readonly sizes = new Map<string, number>();
  /** Devices by directory and kind. */
  readonly devices = new Set<string>();
  /** Devices that somebody has open. */
  open: string[] = [];

  constructor(mounts: LinkMounts) {
    this.#mounts = mounts;
  }

  prepare(directory: string, sizeBytes: number): Promise<void> {
    this.sizes.set(directory, Math.max(sizeBytes, this.sizes.get(directory) ?? 0));
    return Promise.resolve();
  }

  async show(directory: string, target: string, readOnly: boolean): Promise<void> {
    if (!this.sizes.has(directory)) throw new Error(`${directory} has no file`);
    this.devices.add(`${directory} ${readOnly ? 'readOnly' : 'writable'}`);
    await this.#mounts.bind(directory, target, new Set(readOnly ? ['block', 'ro'] : ['block']));
  }

  hide(target: string): Promise<void> {
    return this.#mounts.unbind(target);
  }

  detach(directory: string, keep: ReadonlySet<DeviceKind>): Promise<readonly string[]> {
    for (const kind of ['writable', 'readOnly'] as const)
      if (!keep.has(kind)) this.devices.delete(`${directory} ${kind}`);
    return Promise.resolve(this.open);
  }
}

/** The plugin's socket of one node over a fake cluster, and a caller. */
export class CsiBench {
  readonly cluster: VolumesBench;
  readonly node: NodeId;
  readonly directory: string;
  mounts = new LinkMounts();
  blocks = new LinkBlocks(this.mounts);
  #volumes: Volumes | undefined;
  #frontend: CsiFrontend | undefined;
  #caller: CsiClient | undefined;

  private constructor(cluster: VolumesBench, directory: string, node: NodeId) {
    this.cluster = cluster;
    this.directory = directory;
    this.node = node;
  }

  static async start(
    options: Partial<CsiServerOptions> = {},
    cluster?: VolumesBench,
    faults: Partial<FlockerClient> = {},
  ): Promise<CsiBench> {
    const shared = cluster ?? (await VolumesBench.create());
    const directory = await mkdtemp(join(tmpdir(), 'flocker-csi-'));
    const bench = new CsiBench(shared, directory, shared.flocker.addNode());
    await bench.startAgent(options, faults);
    return bench;
  }

  get socketPath(): string {
    return join(this.directory, 'run', 'csi.sock');
  }

  get volumes(): Volumes {
    if (this.#volumes === undefined) throw new Error('the agent is not running');
    return this.#volumes;
  }

  get csi(): CsiClient {
    this.#caller ??= csiClient(this.socketPath);
    return this.#caller;
  }

  get leases(): number {
    return this.cluster.flocker.cluster.leases().length;
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  async startAgent(options: Partial<CsiServerOptions> = {}, faults: Partial<FlockerClient> = {}): Promise<void> {
    this.#volumes = await this.cluster.volumes(this.node, faults);
    this.#frontend = await serveCsi({
      client: { ...this.cluster.flocker.client, ...faults },
      volumes: this.#volumes,
      nodeId: this.node,
      pool: 'fake',
      mounts: this.mounts,
      blocks: this.blocks,
      growsOnline: true,
      version: '1.2.3',
      bootId: 'boot',
      socketPath: this.socketPath,
      clock: systemClock,
      newUuid: randomUUID,
      logger: silentLogger,
      ...options,
    });
  }

  async stopAgent(): Promise<void> {
    this.#caller?.close();
    this.#caller = undefined;
    await this.#frontend?.close();
    await this.#volumes?.close();
  }

  async modeOf(path: string): Promise<number> {
    return (await stat(path)).mode & 0o777;
  }

  /** Makes a volume and resolves with its id. */
  async create(name: string, requiredBytes = 1n << 30n): Promise<string> {
    const request = { name, capacityRange: { requiredBytes }, volumeCapabilities: [writable()] };
    return (await this.csi.controller.createVolume(request)).volume?.volumeId ?? '';
  }

  async stage(volumeId: string, volumeContext: Record<string, string> = {}): Promise<void> {
    const stagingTargetPath = this.path('staging');
    await this.csi.node.nodeStageVolume({ volumeId, stagingTargetPath, volumeCapability: writable(), volumeContext });
  }

  async publish(
    volumeId: string,
    target: string,
    more: { readonly?: boolean; mountFlags?: string[] } = {},
  ): Promise<void> {
    const paths = { stagingTargetPath: this.path('staging'), targetPath: this.path(target) };
    const volumeCapability = writable(more.mountFlags);
    await this.csi.node.nodePublishVolume({ volumeId, ...paths, volumeCapability, readonly: more.readonly ?? false });
  }

  async unpublish(volumeId: string, target: string): Promise<void> {
    await this.csi.node.nodeUnpublishVolume({ volumeId, targetPath: this.path(target) });
  }

  async unstage(volumeId: string): Promise<void> {
    await this.csi.node.nodeUnstageVolume({ volumeId, stagingTargetPath: this.path('staging') });
  }

  async close(): Promise<void> {
    this.#caller?.close();
    await this.#frontend?.close();
    await this.cluster.close();
    await chmod(this.directory, 0o700);
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** The capability that callers ask for most. */
export function writable(mountFlags: string[] = [], fsType = '') {
  return mount(Mode.SINGLE_NODE_WRITER, mountFlags, fsType);
}

/** A device to write to. */
export function block(mode = Mode.SINGLE_NODE_WRITER) {
  return { accessType: { case: 'block' as const, value: {} }, accessMode: { mode } };
}

export function mount(mode: Mode, mountFlags: string[] = [], fsType = '') {
  return { accessType: { case: 'mount' as const, value: { fsType, mountFlags } }, accessMode: { mode } };
}
