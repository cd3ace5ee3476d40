import { randomUUID } from 'node:crypto';
import { access, mkdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { writable } from '../../../src/frontends/csi/testing/csi-bench.ts';
import { type CsiClient, csiClient } from '../../../src/frontends/csi/testing/csi-client.ts';
import { errorCode } from '../../../src/kit/coded-error.ts';
import { KeyedQueue } from '../../../src/kit/keyed-queue.ts';
import { type FaultCluster, type FaultNode, VOLUME_BYTES, VOLUME_SIZE } from '../fault-cluster.ts';
import type { VolumeUser, Way } from './way.ts';

const CALL_MS = 10_000;

/**
 * As Kubernetes, or without a controller as Mesos: one call at a time for each volume on a node, which is staged once for all its tasks there
 * and unstaged when the last has ended.
 */
export class CsiWay implements Way {
  readonly cluster: FaultCluster;
  readonly hasController: boolean;
  readonly queue = new KeyedQueue<string>();
  /** Node and volume id → the tasks that have it or try to. */
  readonly #users = new Map<string, Set<CsiUser>>();
  #turn = 0;

  constructor(cluster: FaultCluster, hasController: boolean) {
    this.cluster = cluster;
    this.hasController = hasController;
  }

  user(node: FaultNode, volume: string): VolumeUser {
    return new CsiUser(this, node, volume);
  }

  usersOf(key: string): Set<CsiUser> {
    const users = this.#users.get(key) ?? new Set();
    this.#users.set(key, users);
    return users;
  }

  /** A call on the node's agent. Each connects anew, as callers that keep a connection may wait before they do. */
  async on<T>(node: FaultNode, work: (client: CsiClient) => Promise<T>): Promise<T> {
    const client = csiClient(this.cluster.sockets(node).csi);
    try {
      return await work(client);
    } finally {
      client.close();
    }
  }

  /** A call of the controller, which any agent answers: each time another one. */
  controller<T>(work: (client: CsiClient) => Promise<T>): Promise<T> {
    const { nodes } = this.cluster;
    this.#turn += 1;
    const node = nodes[this.#turn % nodes.length];
    if (node === undefined) throw new Error('there are no nodes');
    return this.on(node, work);
  }
}

class CsiUser implements VolumeUser {
  readonly #way: CsiWay;
  readonly #node: FaultNode;
  readonly #volume: string;
  readonly #id = randomUUID();
  /** Once known it stays, whatever becomes of the name. */
  #volumeId: string | undefined;

  constructor(way: CsiWay, node: FaultNode, volume: string) {
    this.#way = way;
    this.#node = node;
    this.#volume = volume;
    if (!way.hasController) this.#volumeId = volume;
  }

  async take(): Promise<void> {
    this.#volumeId ??= await this.#create();
    const volumeId = this.#volumeId;
    const call = { volumeId, volumeCapability: writable() };
    const { stagingTargetPath, targetPath } = this.#paths(volumeId);
    await this.#serially(volumeId, async (users) => {
      users.add(this);
      if (this.#way.hasController)
        await this.#way.controller(({ controller }) =>
          controller.controllerPublishVolume({ ...call, nodeId: this.#node.id }, CALL_MS),
        );
      await mkdir(stagingTargetPath, { recursive: true });
      const volumeContext = this.#way.hasController ? {} : { create: 'auto', size: VOLUME_SIZE };
      await this.#way.on(this.#node, async ({ node }) => {
        await node.nodeStageVolume({ ...call, stagingTargetPath, volumeContext }, CALL_MS);
        await node.nodePublishVolume({ ...call, stagingTargetPath, targetPath }, CALL_MS);
      });
    });
  }

  command(forMs: number): ReturnType<VolumeUser['command']> {
    const { cluster } = this.#way;
    const { targetPath } = this.#paths(this.#volumeId ?? '');
    return cluster.boundCommand(this.#node, targetPath, '/mnt', cluster.writer('/mnt', forMs));
  }

  async leave(): Promise<void> {
    const volumeId = this.#volumeId;
    if (volumeId === undefined) return;
    const { root, stagingTargetPath, targetPath } = this.#paths(volumeId);
    await this.#serially(volumeId, async (users) => {
      if (!users.has(this)) return;
      await this.#way.on(this.#node, async ({ node }) => {
        await node.nodeUnpublishVolume({ volumeId, targetPath }, CALL_MS);
        if (await exists(targetPath)) throw new Error(`${targetPath} is there after NodeUnpublishVolume`);
        if (users.size > 1) return;
        await node.nodeUnstageVolume({ volumeId, stagingTargetPath }, CALL_MS);
      });
      if (users.size === 1) {
        await removeEmpty(stagingTargetPath);
        await removeEmpty(root);
        if (this.#way.hasController)
          await this.#way.controller(({ controller }) =>
            controller.controllerUnpublishVolume({ volumeId, nodeId: this.#node.id }, CALL_MS),
          );
      }
      users.delete(this);
    });
  }

  async #create(): Promise<string> {
    const request = {
      name: this.#volume,
      capacityRange: { requiredBytes: BigInt(VOLUME_BYTES) },
      volumeCapabilities: [writable()],
    };
    const { volume } = await this.#way.controller(({ controller }) => controller.createVolume(request, CALL_MS));
    if (volume === undefined) throw new Error('CreateVolume was answered without a volume');
    return volume.volumeId;
  }

  #serially(volumeId: string, work: (users: Set<CsiUser>) => Promise<void>): Promise<void> {
    const key = `${this.#node.number} ${volumeId}`;
    return this.#way.queue.run(key, () => work(this.#way.usersOf(key)));
  }

  #paths(volumeId: string): { root: string; stagingTargetPath: string; targetPath: string } {
    const root = join(this.#node.callers, `csi-${volumeId}`);
    return { root, stagingTargetPath: join(root, 'staging'), targetPath: join(root, this.#id) };
  }
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

/** Fails when something is in it. */
async function removeEmpty(path: string): Promise<void> {
  await rmdir(path).catch((error: unknown) => {
    if (errorCode(error) !== 'ENOENT') throw error;
  });
}
