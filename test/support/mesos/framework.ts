import type { MesosProviderManager } from '../mesos-provider-manager.ts';
import type { MesosResource } from './mesos-resources.ts';
import type { TrackedOperation } from './provider-manager-model.ts';

const ROLE = 'storage';
const FRAMEWORK = 'framework-1';

/** What a framework does with disks, through a stand-in for the agent. Ids count up. */
export class Framework {
  readonly #manager: MesosProviderManager;
  #operations = 0;

  constructor(manager: MesosProviderManager) {
    this.#manager = manager;
  }

  /** The unreserved pool of a profile; fails when there is none. */
  pool(profile: string): MesosResource {
    const found = this.#manager.totals.find(
      ({ disk, reservations = [] }) =>
        disk?.source?.type === 'RAW' && disk.source.profile === profile && reservations.length === 0,
    );
    if (found === undefined) throw new Error(`there is no pool ${profile}: ${JSON.stringify(this.#manager.totals)}`);
    return found;
  }

  /** The MOUNT disk with an id as it is now. */
  disk(id: string): MesosResource | undefined {
    return this.#manager.totals.find(({ disk }) => disk?.source?.id === id);
  }

  /** Reserves `mib` of a pool. */
  reserve(profile: string, mib: number): { readonly operation: TrackedOperation; readonly resource: MesosResource } {
    const resource = {
      ...this.pool(profile),
      scalar: { value: mib },
      allocation_info: { role: ROLE },
      reservations: [{ type: 'DYNAMIC', role: ROLE }],
    };
    return { operation: this.#apply({ type: 'RESERVE', reserve: { resources: [resource] } }), resource };
  }

  createDisk(source: MesosResource, targetProfile?: string): TrackedOperation {
    const profile = targetProfile === undefined ? {} : { target_profile: targetProfile };
    return this.#apply({ type: 'CREATE_DISK', create_disk: { source, target_type: 'MOUNT', ...profile } });
  }

  /** The persistent volume on a disk. */
  volume(disk: MesosResource, persistenceId: string): MesosResource {
    const volume = { mode: 'RW', container_path: 'data' };
    return { ...disk, disk: { ...disk.disk, persistence: { id: persistenceId }, volume } };
  }

  create(volume: MesosResource): TrackedOperation {
    return this.#apply({ type: 'CREATE', create: { volumes: [volume] } });
  }

  destroy(volume: MesosResource): TrackedOperation {
    return this.#apply({ type: 'DESTROY', destroy: { volumes: [volume] } });
  }

  destroyDisk(source: MesosResource): TrackedOperation {
    return this.#apply({ type: 'DESTROY_DISK', destroy_disk: { source } });
  }

  unreserve(resource: MesosResource): TrackedOperation {
    return this.#apply({ type: 'UNRESERVE', unreserve: { resources: [resource] } });
  }

  /** RESERVE and CREATE_DISK, as in one ACCEPT; resolves with the disk. */
  async made(profile: string, mib: number): Promise<MesosResource> {
    const { operation, resource } = this.reserve(profile, mib);
    const create = this.createDisk(resource);
    const reserved = await this.#manager.ended(operation);
    if (reserved.state !== 'OPERATION_FINISHED') throw new Error(`RESERVE: ${reserved.message}`);
    const status = await this.#manager.ended(create);
    const [disk] = status.converted_resources ?? [];
    if (disk === undefined) throw new Error(`CREATE_DISK: ${status.state} ${status.message}`);
    return disk;
  }

  #apply(info: Parameters<MesosProviderManager['apply']>[0]): TrackedOperation {
    this.#operations += 1;
    return this.#manager.apply({ ...info, id: { value: `operation-${this.#operations}` } }, FRAMEWORK);
  }
}
