import { type NodeId, parseNodeId } from '../../kit/ids.ts';
import { CsiError } from './csi-error.ts';

/** A field that a request has to have. Fails with `INVALID_ARGUMENT`. */
export function required(value: string, field: string): string {
  if (value === '') throw new CsiError('INVALID_ARGUMENT', `the request has no ${field}`);
  return value;
}

/** The node a request names; undefined when no node can have this id. */
export function nodeIn(text: string): NodeId | undefined {
  return parseNodeId(text);
}

/** Bytes of a request as a number. Fails with `OUT_OF_RANGE` for negative ones, and for more than any storage has. */
export function bytesIn(value: bigint, field: string): number {
  if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER))
    throw new CsiError('OUT_OF_RANGE', `${field} is ${value} bytes, which no volume can have`);
  return Number(value);
}
