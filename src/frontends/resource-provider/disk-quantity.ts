import { roundUp } from '../../kit/sizes.ts';
import { SIZE_STEP_BYTES } from '../../model/dataset.ts';

/**
 * Mesos counts disk in MiB with three decimals, and compares such numbers as whole thousandths: so do we. 1/1000 MiB is
 * 131072/125 bytes.
 */
export type MilliMib = number;

const BYTES_PER_125 = 131_072n;

/** Thousandths of a MiB in a number of MiB as Mesos sends it. */
export function milliOfMib(mib: number): MilliMib {
  return Math.round(mib * 1000);
}

/** The number of MiB that Mesos is sent. */
export function mibOfMilli(milli: MilliMib): number {
  return milli / 1000;
}

/** What can be offered of `bytes`: never more than there are. */
export function milliOfBytes(bytes: number): MilliMib {
  return Number((BigInt(Math.max(0, Math.floor(bytes))) * 125n) / BYTES_PER_125);
}

/** Bytes that hold `milli`: never fewer, and a size that a dataset can have. */
export function datasetBytesOf(milli: MilliMib): number {
  return roundUp(Number((BigInt(milli) * BYTES_PER_125 + 124n) / 125n), SIZE_STEP_BYTES);
}
