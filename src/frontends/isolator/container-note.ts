import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';

/** What has to be known to end a container after a restart. Kept with the holder as its note. */
const ContainerNote = Type.Object({
  kind: Type.Literal('mesos-container'),
  bootId: Type.String(),
  /** Volumes to be deleted with the container if it made them. */
  deleteOnExit: Type.Array(Type.String()),
  /** Directories made as mount points, as in `MountPlace`. */
  places: Type.Array(Type.Object({ root: Type.String(), missing: Type.Array(Type.Array(Type.String())) })),
});
export type ContainerNote = Readonly<Static<typeof ContainerNote>>;

const containerNote = Compile(ContainerNote);

/** The note of a container's holder; undefined when there is none, or another frontend's. */
export function parseContainerNote(note: string | null): ContainerNote | undefined {
  if (note === null) return undefined;
  try {
    const value: unknown = JSON.parse(note);
    return containerNote.Check(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
