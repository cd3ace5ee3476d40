import type { DatasetConfiguration } from '../../api/datasets.ts';
import type { NodeState } from '../../api/nodes.ts';
import { type DatasetId, type NodeId, parseDatasetId, parseNodeId } from '../../kit/ids.ts';
import { nameOf } from '../../model/dataset.ts';
import { CtlError } from './ctl-error.ts';

/** A node that was found. */
export interface FoundNode {
  readonly id: NodeId;
  readonly host: string;
}

const MOST_LISTED = 5;

/** The node whose UUID begins with `text`, or whose address it is. Fails with `no_match` or `ambiguous`. */
export function findNode(text: string, nodes: readonly NodeState[]): FoundNode {
  const matches = nodes.filter(({ uuid, host }) => beginsWith(uuid, text) || host === text);
  const [match] = matches;
  if (match === undefined)
    throw new CtlError('no_match', `no node uuids matching ${text}; see "flockerctl list-nodes"`);
  if (matches.length > 1) {
    throw ambiguous(
      `${text} is ambiguous node`,
      matches.map(({ uuid, host }) => `${uuid} (${host})`),
    );
  }
  const id = parseNodeId(match.uuid);
  if (id === undefined) throw new CtlError('unexpected_answer', `"${match.uuid}" is no UUID of a node`);
  return { id, host: match.host };
}

/**
 * The dataset whose UUID begins with `text`, or whose name it is. One that is deleted is found by its whole UUID only. A
 * text that is the name of one and the beginning of another is ambiguous: a guess could destroy the wrong one.
 */
export function findDataset(text: string, datasets: readonly DatasetConfiguration[]): DatasetConfiguration {
  const whole = datasets.find(({ dataset_id: id }) => id.toLowerCase() === text.toLowerCase());
  if (whole !== undefined) return whole;
  const matches = datasets.filter(
    ({ deleted, dataset_id: id, metadata }) => !deleted && (beginsWith(id, text) || nameOf(metadata) === text),
  );
  const [match] = matches;
  if (match === undefined) {
    throw new CtlError(
      'no_match',
      `no dataset uuids matching ${text}, and no volume that is not deleted has this name; see "flockerctl list"`,
    );
  }
  if (matches.length > 1) throw ambiguous(`${text} is ambiguous dataset`, matches.map(describeDataset));
  return match;
}

/** The id to ask the API with. */
export function idOf({ dataset_id: text }: DatasetConfiguration): DatasetId {
  const id = parseDatasetId(text);
  if (id === undefined) throw new CtlError('unexpected_answer', `"${text}" is no UUID of a dataset`);
  return id;
}

function describeDataset({ dataset_id: id, metadata }: DatasetConfiguration): string {
  const name = nameOf(metadata);
  return name === undefined ? id : `${id} (${name})`;
}

/** An empty text, as an unset variable of a shell leaves, is the beginning of no UUID. */
function beginsWith(uuid: string, text: string): boolean {
  return text !== '' && uuid.toLowerCase().startsWith(text.toLowerCase());
}

function ambiguous(what: string, matches: readonly string[]): CtlError {
  const more = matches.length > MOST_LISTED ? ` and ${matches.length - MOST_LISTED} more` : '';
  return new CtlError('ambiguous', `${what}: it may be ${matches.slice(0, MOST_LISTED).join(', ')}${more}`);
}
