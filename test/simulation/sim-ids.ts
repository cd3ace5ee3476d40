import {
  type DatasetId,
  type NodeId,
  parseDatasetId,
  parseNodeId,
  parseSnapshotId,
  type SnapshotId,
} from '../../src/kit/ids.ts';

/** Ids by number, easy to tell apart in a trace. */
export function uuid(kind: '8' | '9' | 'a' | 'b', number: number): string {
  return `00000000-0000-4000-${kind}000-${String(number).padStart(12, '0')}`;
}

export function datasetId(number: number): DatasetId {
  return found(parseDatasetId(uuid('8', number)));
}

export function nodeId(number: number): NodeId {
  return found(parseNodeId(uuid('9', number)));
}

export function snapshotId(number: number): SnapshotId {
  return found(parseSnapshotId(uuid('a', number)));
}

function found<T>(id: T | undefined): T {
  if (id === undefined) throw new Error('no id');
  return id;
}
