import type { Holding } from '../../volumes/holding.ts';
import type { LeaseView } from '../../volumes/lease-keeper.ts';
import type { Volumes } from '../../volumes/volumes.ts';
import { HOLDER_PREFIX } from './container-id.ts';
import { type ContainerNote, parseContainerNote } from './container-note.ts';

/** A volume of a container, with what is known of the node's lease on it. */
export interface ContainerHolding {
  readonly holding: Holding;
  readonly lease: LeaseView;
}

/** What the ledger knows of a container. */
export function holdingsOf(volumes: Volumes, holderId: string): ContainerHolding[] {
  return volumes
    .list()
    .flatMap(({ holders, lease }) => holders.map((holding) => ({ holding, lease })))
    .filter(({ holding }) => holding.holderId === holderId && holding.state !== 'releasing');
}

/** The note of a container; undefined when it has no volumes. */
export function noteOf(volumes: Volumes, holderId: string): ContainerNote | undefined {
  const notes = holdingsOf(volumes, holderId).flatMap(({ holding }) => parseContainerNote(holding.note) ?? []);
  return notes[0];
}

/** Holder ids of all containers that have volumes or are getting them. */
export function containerHolders(volumes: Volumes): Set<string> {
  const live = volumes.list().flatMap(({ holders }) => holders.filter(({ state }) => state !== 'releasing'));
  return new Set(live.map(({ holderId }) => holderId).filter((id) => id.startsWith(HOLDER_PREFIX)));
}
