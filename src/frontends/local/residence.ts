import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';

/** What the agent has to know to end a holder whose client is gone. Kept with the holder as its note. */
const Residence = Type.Object({
  kind: Type.Literal('residence'),
  process: Type.Object({
    pid: Type.Integer(),
    startTicks: Type.String(),
    mountNamespace: Type.String(),
    bootId: Type.String(),
    apart: Type.Boolean(),
  }),
  /** Where it has volumes mounted. */
  targets: Type.Array(Type.String()),
  /** Directories made for that, to be removed with the holder. */
  madeDirectories: Type.Array(Type.String()),
});
export type Residence = Readonly<Static<typeof Residence>>;

const residence = Compile(Residence);

/** The residence in a holder's note; undefined when there is no note, or another frontend's. */
export function parseResidence(note: string | null): Residence | undefined {
  if (note === null) return undefined;
  try {
    const value: unknown = JSON.parse(note);
    return residence.Check(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
