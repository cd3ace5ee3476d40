import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { type DatasetId, parseDatasetId } from '../kit/ids.ts';

/**
 * One holder's use of one volume, as it is in the ledger.
 *
 * - `intent`: an acquire began. Its answer may have reached the holder before the next state did reach the disk.
 * - `held`: the holder has the path.
 * - `releasing`: the holder has let go; the lease may still have to be given up.
 */
export const Holding = Type.Object({
  holderId: Type.String(),
  detail: Type.String(),
  volume: Type.String(),
  datasetId: Type.String(),
  mode: Type.Union([Type.Literal('rw'), Type.Literal('ro')]),
  state: Type.Union([Type.Literal('intent'), Type.Literal('held'), Type.Literal('releasing')]),
  /** This holder's acquire chose the dataset's id, so it made the volume, or was about to. */
  created: Type.Boolean(),
  /** With `releasing`: the volume goes too when `created` and nobody else wants it. */
  deleteIfCreated: Type.Boolean(),
  path: Type.Union([Type.String(), Type.Null()]),
  sizeBytes: Type.Union([Type.Number(), Type.Null()]),
  /** Wall clock, milliseconds since the epoch. */
  sinceMs: Type.Number(),
  /** What the frontend keeps with it. */
  note: Type.Union([Type.String(), Type.Null()]),
});
export type Holding = Readonly<Omit<Static<typeof Holding>, 'datasetId'>> & { readonly datasetId: DatasetId };

const storedHolding = Compile(Holding);

/** A holding as it was read from disk, or undefined when it is none. */
export function parseHolding(value: unknown): Holding | undefined {
  if (!storedHolding.Check(value)) return undefined;
  const datasetId = parseDatasetId(value.datasetId);
  return datasetId === undefined ? undefined : { ...value, datasetId };
}

/** The ledger's key of a holder's use of a volume. */
export function holdingKey(holderId: string, volume: string): string {
  return JSON.stringify([holderId, volume]);
}
