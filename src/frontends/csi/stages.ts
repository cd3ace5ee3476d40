import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import type { DatasetId } from '../../kit/ids.ts';
import { KeyedQueue } from '../../kit/keyed-queue.ts';
import { plainPath } from '../../kit/mount-target.ts';
import type { Holding } from '../../volumes/holding.ts';
import type { Access } from './capabilities.ts';
import { CSI_PREFIX, type CsiWorld } from './csi-world.ts';

const Target = Type.Object({ path: Type.String(), readOnly: Type.Boolean(), flags: Type.Array(Type.String()) });
const StageNote = Type.Object({
  stagings: Type.Array(Type.String()),
  targets: Type.Array(Target),
  blockBytes: Type.Optional(Type.Integer()),
});
const stageNote = Compile(StageNote);

/** Where a volume is shown, and how. */
export type Target = Readonly<Static<typeof Target>>;
/** What is kept with a holder: where it is staged, and each target before anything is done there. */
export interface StageNote {
  readonly stagings: readonly string[];
  readonly targets: readonly Target[];
  /** Size of a block volume's device; absent when the volume has a filesystem. */
  readonly blockBytes?: number;
}

/** A volume that is staged on this node: it is mounted and stays, also through restarts of the node agent. */
export interface Stage extends StageNote {
  readonly name: string;
  readonly datasetId: DatasetId;
  readonly path: string;
}

const NOTHING: StageNote = { stagings: [], targets: [] };

/** Volumes staged on this node, as the ledger of holders has them; work on each is done one after the other. */
export class Stages {
  readonly #world: CsiWorld;
  readonly #queue = new KeyedQueue<string>();

  constructor(world: CsiWorld) {
    this.#world = world;
  }

  /** The stage of a volume by its id or name. The control service is not asked. */
  find(volumeId: string): Stage | undefined {
    const { holders, volumes } = this.#world;
    const [named] = holders.held(`${CSI_PREFIX}${volumeId}`);
    if (named !== undefined) return this.#stage(named);
    const wanted = volumeId.toLowerCase();
    for (const { datasetId, holders: all } of volumes.list()) {
      if (datasetId !== wanted) continue;
      const ours = all.find(({ holderId }) => holderId.startsWith(CSI_PREFIX));
      const [held] = ours === undefined ? [] : holders.held(ours.holderId);
      if (held !== undefined) return this.#stage(held);
    }
    return undefined;
  }

  /** Every path at which any volume is shown, with that volume's name. */
  owner(target: string): string | undefined {
    const path = plainPath(target);
    for (const { holders: all } of this.#world.volumes.list())
      for (const { holderId } of all) {
        if (!holderId.startsWith(CSI_PREFIX)) continue;
        const [held] = this.#world.holders.held(holderId);
        const stage = held === undefined ? undefined : this.#stage(held);
        if (stage?.targets.some((one) => one.path === path) === true) return stage.name;
      }
    return undefined;
  }

  /** Does work on one volume when all earlier work on it has ended, unless the signal has aborted by then. */
  serially<T>(name: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return this.#queue.run(name, () => {
      signal.throwIfAborted();
      return work();
    });
  }

  /** Resolves once it is on disk. */
  async keep(stage: Stage, note: Partial<StageNote>): Promise<Stage> {
    const changed = { ...stage, ...note };
    await this.#world.holders.keep(`${CSI_PREFIX}${stage.name}`, textOf(changed));
    return changed;
  }

  idle(): Promise<void> {
    return this.#queue.idle();
  }

  #stage(holding: Holding): Stage | undefined {
    const { volume: name, datasetId, path } = holding;
    if (path === null) return undefined;
    return { name, datasetId, path, ...parsed(this.#world.holders.text(holding)) };
  }
}

/** The text to keep with a holder. */
export function textOf({ stagings, targets, blockBytes }: StageNote): string {
  return JSON.stringify({ stagings, targets, blockBytes });
}

/** How a staged volume can be used. */
export function accessOf({ blockBytes }: StageNote): Access {
  return blockBytes === undefined ? 'mount' : 'block';
}

function parsed(text: string): StageNote {
  const value: unknown = text === '' ? NOTHING : JSON.parse(text);
  return stageNote.Check(value) ? value : NOTHING;
}
