import { type MilliMib, mibOfMilli, milliOfMib } from './disk-quantity.ts';
import type { DiskSource, Label, Reservation, Resource } from './mesos-messages.ts';

/** How much of it there is. */
export function quantityOf(resource: Resource): MilliMib {
  return milliOfMib(resource.scalar?.value ?? 0);
}

export function withQuantity(resource: Resource, milli: MilliMib): Resource {
  return { ...resource, scalar: { value: mibOfMilli(milli) } };
}

/** What tells disks apart that Mesos never adds up or splits; undefined for a pool. */
export function diskIdOf(resource: Resource): string | undefined {
  return resource.disk?.source?.id;
}

/** Without the framework's role: totals have none. */
export function unallocated(resource: Resource): Resource {
  const { allocation_info: _, ...rest } = resource;
  return rest;
}

/**
 * Text that is equal for resources that Mesos takes for the same kind (contract 1.7). Ignores quantity, `disk.volume` and
 * the principal of the persistence.
 */
export function kindOf(resource: Resource): string {
  const { source, persistence } = resource.disk ?? {};
  return JSON.stringify([
    resource.name,
    resource.type,
    resource.allocation_info?.role ?? null,
    (resource.reservations ?? []).map(reservationKind),
    resource.provider_id?.value ?? null,
    resource.revocable === undefined,
    resource.shared === undefined,
    source === undefined ? null : sourceKind(source),
    persistence?.id ?? null,
  ]);
}

/** `from` without `part`, or undefined when it does not hold it. */
export function subtract(from: readonly Resource[], part: Resource): readonly Resource[] | undefined {
  const kind = kindOf(part);
  const wanted = quantityOf(part);
  const index = from.findIndex((resource) => kindOf(resource) === kind);
  const found = from[index];
  if (found === undefined || wanted <= 0) return undefined;
  const left = quantityOf(found) - wanted;
  if (left < 0 || (diskIdOf(found) !== undefined && left !== 0)) return undefined;
  const rest = from.filter((_, place) => place !== index);
  return left === 0 ? rest : [...rest.slice(0, index), withQuantity(found, left), ...rest.slice(index)];
}

/** `to` with `part`. */
export function add(to: readonly Resource[], part: Resource): readonly Resource[] {
  if (quantityOf(part) <= 0) return to;
  const kind = kindOf(part);
  const index = to.findIndex((resource) => kindOf(resource) === kind);
  const found = to[index];
  if (found === undefined || diskIdOf(part) !== undefined) return [...to, part];
  return to.with(index, withQuantity(found, quantityOf(found) + quantityOf(part)));
}

/** Totals after a conversion, or undefined when they do not hold what it consumes. */
export function convert(
  totals: readonly Resource[],
  consumed: readonly Resource[],
  converted: readonly Resource[],
): readonly Resource[] | undefined {
  let left: readonly Resource[] | undefined = totals;
  for (const part of consumed) left = left === undefined ? undefined : subtract(left, unallocated(part));
  return left === undefined ? undefined : converted.reduce((sum, part) => add(sum, unallocated(part)), left);
}

/** Sum of quantities. */
export function sumOf(resources: readonly Resource[]): MilliMib {
  return resources.reduce((sum, resource) => sum + quantityOf(resource), 0);
}

/** Whether both have the same reservations, in order. */
export function sameReservations(a: readonly Reservation[], b: readonly Reservation[]): boolean {
  return JSON.stringify(a.map(reservationKind)) === JSON.stringify(b.map(reservationKind));
}

function reservationKind({ type, role, principal, labels }: Reservation): unknown {
  return [type ?? null, role ?? null, principal ?? null, labelsKind(labels?.labels)];
}

function sourceKind({ type, path, mount, vendor, id, metadata, profile }: DiskSource): unknown {
  return [
    type ?? null,
    path?.root ?? null,
    mount?.root ?? null,
    vendor ?? null,
    id ?? null,
    labelsKind(metadata?.labels),
    profile ?? null,
  ];
}

/** Mesos compares labels without regard to their order. */
function labelsKind(labels: readonly Label[] | undefined): readonly string[] {
  return (labels ?? []).map(({ key, value }) => JSON.stringify([key, value ?? null])).sort();
}
