import type { VolumeRecipe } from '../backend.ts';
import type { SnapshotRecord } from '../snapshot-record.ts';
import type { VolumeRecord } from '../volume-record.ts';
import type { MountPlace, StartServer } from './fuse-mounts.ts';

/** A volume of this node: its directory in the pool, what is written there of it, and where it is mounted. */
export interface PooledVolume {
  readonly directory: string;
  readonly record: VolumeRecord;
  readonly place: MountPlace;
}

/** The snapshot that a volume is made from. */
export interface Source {
  readonly directory: string;
  readonly record: SnapshotRecord;
}

/** What depends on where the bytes of volumes are: in directories of CephFS, or in RBD images. */
export interface VolumeBody {
  /** The record of a new volume. Fails as `Backend.create` does. */
  plan(recipe: VolumeRecipe, source: Source | null): VolumeRecord;
  /** Fills the directory of a new volume, durably, its record aside. */
  make(directory: string, record: VolumeRecord, source: Source | null, signal: AbortSignal): Promise<void>;
  /** How it is mounted. Fails with `volume_lost`. */
  server(volume: PooledVolume): Promise<StartServer>;
  /** Makes it larger; the caller writes the record. */
  grow(volume: PooledVolume, sizeBytes: number, signal: AbortSignal): Promise<void>;
  /** Takes a snapshot into the directory of a new one, durably, its record aside; tells when that was. */
  takeSnapshot(volume: PooledVolume, to: string, signal: AbortSignal): Promise<number>;
}
