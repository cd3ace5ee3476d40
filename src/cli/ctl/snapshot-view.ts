import type { SnapshotView } from '../../api/snapshots.ts';
import { parseSnapshotId, type SnapshotId } from '../../kit/ids.ts';
import { CtlError } from './ctl-error.ts';
import { bytesText } from './figures.ts';
import { printable } from './text-width.ts';

/** One snapshot in a line: id, name, status, size, when it was taken. */
export function snapshotLine({ snapshot_id, metadata, status, size, taken, problem }: SnapshotView): string {
  const name = metadata['name'];
  const parts = [snapshot_id, ...(name === undefined ? [] : [name]), status, bytesText(size)];
  if (taken !== null) parts.push(`taken ${taken}`);
  if (problem !== null) parts.push(problem.message);
  return printable(parts.join(', '));
}

/** The snapshot whose UUID begins with `text`, or whose name it is. Fails with `no_match` or `ambiguous`. */
export function findSnapshot(text: string, snapshots: readonly SnapshotView[]): SnapshotView {
  const matches = snapshots.filter(
    ({ snapshot_id: id, metadata }) => id.startsWith(text.toLowerCase()) || metadata['name'] === text,
  );
  const [match] = matches;
  if (match === undefined)
    throw new CtlError(
      'no_match',
      `no snapshot uuids matching ${text}, and none has this name; see "flockerctl snapshot list"`,
    );
  if (matches.length > 1)
    throw new CtlError(
      'ambiguous',
      `${text} is ambiguous snapshot: it may be ${matches.map(({ snapshot_id: id }) => id).join(', ')}`,
    );
  return match;
}

/** The id to ask the API with. */
export function snapshotIdOf({ snapshot_id: text }: SnapshotView): SnapshotId {
  const id = parseSnapshotId(text);
  if (id === undefined) throw new CtlError('unexpected_answer', `"${text}" is no UUID of a snapshot`);
  return id;
}
