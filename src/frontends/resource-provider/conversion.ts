import type { OperationInfo, Resource } from './mesos-messages.ts';
import { diskIdOf } from './resource-arithmetic.ts';

/** What an operation does to resources. */
export interface Conversion {
  readonly consumed: readonly Resource[];
  /** Null when only the work itself tells. */
  readonly converted: readonly Resource[] | null;
  /** Master and agent have done it already when they ask us. */
  readonly speculative: boolean;
}

/** The conversion of an operation as Mesos defines it (contract 1.9), or words for what is wrong with it. */
export function conversionOf(info: OperationInfo): Conversion | string {
  switch (info.type ?? '') {
    case 'RESERVE': {
      const { source = [], resources = [] } = info.reserve ?? {};
      const consumed = source.length > 0 ? source : resources.map(withoutLastReservation);
      return speculative(consumed, resources);
    }
    case 'UNRESERVE': {
      const { resources = [] } = info.unreserve ?? {};
      return speculative(resources, resources.map(withoutLastReservation));
    }
    case 'CREATE': {
      const { volumes = [] } = info.create ?? {};
      if (volumes.some((volume) => volume.disk?.source?.type !== 'MOUNT' || diskIdOf(volume) === undefined))
        return 'a persistent volume can be made on a MOUNT disk with an id only; make one with CREATE_DISK first';
      return speculative(volumes.map(withoutPersistence), volumes);
    }
    case 'DESTROY': {
      const { volumes = [] } = info.destroy ?? {};
      return speculative(volumes, volumes.map(withoutPersistence));
    }
    case 'CREATE_DISK':
      if (info.create_disk === undefined) return 'CREATE_DISK has no source';
      return { consumed: [info.create_disk.source], converted: null, speculative: false };
    case 'DESTROY_DISK':
      if (info.destroy_disk === undefined) return 'DESTROY_DISK has no source';
      return { consumed: [info.destroy_disk.source], converted: null, speculative: false };
    default:
      return `operation ${info.type ?? 'without a type'} is not supported by this resource provider`;
  }
}

/** Whether master and agent apply it before they ask us, whatever else is wrong with it. */
export function isSpeculative({ type }: OperationInfo): boolean {
  return type === 'RESERVE' || type === 'UNRESERVE' || type === 'CREATE' || type === 'DESTROY';
}

function speculative(consumed: readonly Resource[], converted: readonly Resource[]): Conversion | string {
  if (consumed.length === 0) return 'the operation has no resources';
  return { consumed, converted, speculative: true };
}

function withoutLastReservation(resource: Resource): Resource {
  const { reservations = [], ...rest } = resource;
  const left = reservations.slice(0, -1);
  return left.length === 0 ? rest : { ...rest, reservations: left };
}

function withoutPersistence(resource: Resource): Resource {
  const { shared: _shared, disk = {}, ...rest } = resource;
  const { persistence: _persistence, volume: _volume, ...bare } = disk;
  return { ...rest, disk: bare };
}
