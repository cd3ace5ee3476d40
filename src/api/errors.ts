import { type Static, Type } from 'typebox';

/** Body of every 4xx and 5xx answer. `errors` lists schema violations, for people. */
export const ErrorBody = Type.Object({
  description: Type.String(),
  errors: Type.Optional(Type.Array(Type.String())),
});
export type ErrorBody = Static<typeof ErrorBody>;

/** The texts of contract 1.2, literally: clients compare them. */
export const DESCRIPTIONS = {
  undecodable: 'The request body could not be decoded according to the value of the\nContent-Type header.',
  schema: "The provided JSON doesn't match the required schema.",
  datasetNotFound: 'Dataset not found.',
  leaseNotFound: 'Lease not found.',
  noNodeWithEra: 'No node found with given era.',
  datasetDeleted: 'The dataset has been deleted.',
  datasetIdInUse: 'The provided dataset_id is already in use.',
  leaseHeld: 'Lease already held.',
} as const;
