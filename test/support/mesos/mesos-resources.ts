/** A resource as it is in Mesos's JSON; read anew here, so that a fault in the provider's arithmetic shows. */
export interface MesosResource {
  readonly name?: string;
  readonly type?: string;
  readonly role?: string;
  readonly reservation?: unknown;
  readonly scalar?: { readonly value?: number };
  readonly provider_id?: { readonly value?: string };
  readonly allocation_info?: { readonly role?: string };
  readonly reservations?: readonly Record<string, unknown>[];
  readonly shared?: unknown;
  readonly revocable?: unknown;
  readonly disk?: {
    readonly source?: {
      readonly type?: string;
      readonly id?: string;
      readonly profile?: string;
      readonly vendor?: string;
      readonly metadata?: { readonly labels?: readonly { readonly key: string; readonly value?: string }[] };
      readonly mount?: { readonly root?: string };
      readonly path?: { readonly root?: string };
    };
    readonly persistence?: { readonly id: string; readonly principal?: string };
    readonly volume?: unknown;
  };
}

/** Thousandths of a MiB: Mesos compares scalars as fixed-point numbers. */
export function milli(resource: MesosResource): number {
  return Math.round((resource.scalar?.value ?? 0) * 1000);
}

export function sum(resources: readonly MesosResource[]): number {
  return resources.reduce((total, resource) => total + milli(resource), 0);
}

/** Equal for resources that `==` of Mesos takes for equal but for their quantity (contract 1.7). */
export function identity(resource: MesosResource): string {
  const source = resource.disk?.source;
  const labels = (list: readonly { key: string; value?: string }[] = []): string[] =>
    list.map(({ key, value }) => `${key}=${value ?? ''}`).sort();
  return JSON.stringify({
    name: resource.name,
    type: resource.type,
    allocation: resource.allocation_info?.role ?? '',
    reservations: (resource.reservations ?? []).map((one) => [one['type'], one['role'], one['principal'] ?? '']),
    provider: resource.provider_id?.value ?? '',
    shared: resource.shared !== undefined,
    source: [
      ...[source?.type ?? '', source?.id ?? '', source?.profile ?? '', source?.vendor ?? ''],
      ...[source?.mount?.root ?? '', source?.path?.root ?? '', ...labels(source?.metadata?.labels)],
    ],
    persistence: resource.disk?.persistence?.id ?? '',
  });
}

export function isExclusive(resource: MesosResource): boolean {
  return resource.disk?.source?.id !== undefined;
}

export function unallocated({ allocation_info: _allocation, ...rest }: MesosResource): MesosResource {
  return rest;
}

/** `totals.apply(conversion)` of Mesos; undefined where it would return an error. */
export function applyConversion(
  totals: readonly MesosResource[],
  consumed: readonly MesosResource[],
  converted: readonly MesosResource[],
): readonly MesosResource[] | undefined {
  const left = totals.map((resource) => ({ resource, milli: milli(resource) }));
  for (const part of consumed.map(unallocated)) {
    const found = left.find(
      (one) =>
        identity(one.resource) === identity(part) &&
        (isExclusive(part) ? one.milli === milli(part) : one.milli >= milli(part)),
    );
    if (found === undefined || milli(part) <= 0) return undefined;
    found.milli -= milli(part);
  }
  for (const part of converted.map(unallocated)) {
    const same = isExclusive(part) ? undefined : left.find((one) => identity(one.resource) === identity(part));
    if (same === undefined) left.push({ resource: part, milli: milli(part) });
    else same.milli += milli(part);
  }
  return left.filter((one) => one.milli > 0).map((one) => ({ ...one.resource, scalar: { value: one.milli / 1000 } }));
}

export interface MesosOperationInfo {
  readonly type?: string;
  readonly id?: { readonly value: string };
  readonly reserve?: { readonly source?: readonly MesosResource[]; readonly resources?: readonly MesosResource[] };
  readonly unreserve?: { readonly resources?: readonly MesosResource[] };
  readonly create?: { readonly volumes?: readonly MesosResource[] };
  readonly destroy?: { readonly volumes?: readonly MesosResource[] };
  readonly create_disk?: {
    readonly source: MesosResource;
    readonly target_type?: string;
    readonly target_profile?: string;
  };
  readonly destroy_disk?: { readonly source: MesosResource };
}

/** What an operation consumes, and what master and agent convert it to by themselves before the provider hears of it. */
export function speculation(info: MesosOperationInfo): {
  readonly consumed: readonly MesosResource[];
  readonly converted: readonly MesosResource[] | undefined;
} {
  switch (info.type ?? '') {
    case 'RESERVE': {
      const resources = info.reserve?.resources ?? [];
      const source = info.reserve?.source ?? [];
      return { consumed: source.length > 0 ? source : resources.map(popReservation), converted: resources };
    }
    case 'UNRESERVE': {
      const resources = info.unreserve?.resources ?? [];
      return { consumed: resources, converted: resources.map(popReservation) };
    }
    case 'CREATE': {
      const volumes = info.create?.volumes ?? [];
      return { consumed: volumes.map(bareDisk), converted: volumes };
    }
    case 'DESTROY': {
      const volumes = info.destroy?.volumes ?? [];
      return { consumed: volumes, converted: volumes.map(bareDisk) };
    }
    case 'CREATE_DISK':
      return { consumed: info.create_disk === undefined ? [] : [info.create_disk.source], converted: undefined };
    default:
      return { consumed: info.destroy_disk === undefined ? [] : [info.destroy_disk.source], converted: undefined };
  }
}

function popReservation(resource: MesosResource): MesosResource {
  const { reservations = [], ...rest } = resource;
  return reservations.length > 1 ? { ...rest, reservations: reservations.slice(0, -1) } : rest;
}

function bareDisk({ shared: _shared, ...resource }: MesosResource): MesosResource {
  const source = resource.disk?.source;
  return { ...resource, disk: source === undefined ? {} : { source } };
}
