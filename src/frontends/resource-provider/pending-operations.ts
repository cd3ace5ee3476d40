import { conversionOf } from './conversion.ts';
import type { OperationInfo, Resource, StoredOperation } from './mesos-messages.ts';
import type { ProviderRecord } from './provider-record.ts';
import { convert, diskIdOf, unallocated } from './resource-arithmetic.ts';

/** Operations that have not ended. */
export function pendingOf(record: ProviderRecord): readonly StoredOperation[] {
  return record.operations.filter(({ status }) => status === null);
}

/** Totals as Mesos has them: conversions that it did before it asked us are in them while we still work on them. */
export function toldTotals(record: ProviderRecord): readonly Resource[] {
  return fold(record, ({ speculative }) => speculative);
}

/** What nobody has begun to use: what a further operation can be about. */
export function unusedTotals(record: ProviderRecord): readonly Resource[] {
  return fold(record, () => true);
}

/** Whether any pending operation changes how much room there is. */
export function changesRoom(record: ProviderRecord): boolean {
  return pendingOf(record).some(({ info }) => info.type === 'CREATE_DISK' || info.type === 'DESTROY_DISK');
}

/** Ids of the disks that an operation is about. */
export function disksIn(info: OperationInfo): ReadonlySet<string> {
  const conversion = conversionOf(info);
  const consumed = typeof conversion === 'string' ? [] : conversion.consumed;
  return new Set(consumed.flatMap((resource) => diskIdOf(resource) ?? []));
}

function fold(
  { totals, operations }: ProviderRecord,
  counts: (conversion: { readonly speculative: boolean }) => boolean,
): readonly Resource[] {
  let left: readonly Resource[] = totals;
  for (const { info, status } of operations) {
    const conversion = status === null ? conversionOf(info) : '';
    if (typeof conversion === 'string' || !counts(conversion)) continue;
    left = convert(left, conversion.consumed.map(unallocated), conversion.converted ?? []) ?? left;
  }
  return left;
}
