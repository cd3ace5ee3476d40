import { type Static, Type } from 'typebox';

/** Body of every 4xx and 5xx answer. `errors` lists schema violations, for people. */
export const ErrorBody = Type.Object({
  description: Type.String(),
  errors: Type.Optional(Type.Array(Type.String())),
});
export type ErrorBody = Static<typeof ErrorBody>;

/** The texts of contract 1.2, literally, and those of our additions: clients compare them. */
export const DESCRIPTIONS = {
  undecodable: 'The request body could not be decoded according to the value of the\nContent-Type header.',
  schema: "The provided JSON doesn't match the required schema.",
  datasetNotFound: 'Dataset not found.',
  leaseNotFound: 'Lease not found.',
  noNodeWithEra: 'No node found with given era.',
  datasetDeleted: 'The dataset has been deleted.',
  datasetIdInUse: 'The provided dataset_id is already in use.',
  leaseHeld: 'Lease already held.',
  // Additions.
  nodeConnected: 'The node is connected.',
  nodeUnknown: 'Nothing is known of the node.',
  nodeDeclaredDead: 'The node was declared dead and has not come back.',
  restored:
    'The control service was restored from a backup, and volumes may exist that it does not know: no new ones are made until an ' +
    'operator has looked at "flockerctl restored" and confirmed it.',
  onlyGrows: 'A dataset only grows.',
  snapshotNotFound: 'Snapshot not found.',
  snapshotIdInUse: 'The provided snapshot_id is already in use.',
  snapshotInUse: 'A dataset that is not made yet is to be made from the snapshot.',
  snapshotNotReady: 'The snapshot is not ready.',
  smallerThanSnapshot: 'A dataset is at least as large as the snapshot that it is made from.',
} as const;
