import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ClusterLayout } from '../../src/cli/up/layout.ts';
import { sh } from './program.ts';
import type { DeedKind } from './schedule.ts';

const SHARED_SIZE = '3G';

/** Where the nodes of a cluster under faults have their volumes. */
export interface FaultStorage {
  readonly wish: { readonly backend: 'loopback' | 'btrfs'; readonly poolPerNode?: boolean };
  /** Deeds that make no sense with it. */
  readonly without: ReadonlySet<DeedKind>;
  /** Makes what has to be there before the agents start. */
  prepare(layout: ClusterLayout): Promise<void>;
  /** The pool as a path for this process; `pid` is a process on the node, whose number counts from 0. */
  pool(layout: ClusterLayout, node: number, pid: number): string;
  remove(layout: ClusterLayout): Promise<void>;
}

/** One pool of image files for all nodes, on a filesystem that can be filled. */
const loopback: FaultStorage = {
  wish: { backend: 'loopback' },
  without: new Set(),
  async prepare({ directory, volumes }) {
    const image = join(directory, 'disk');
    await writeFile(image, '');
    await sh('truncate', '--size', SHARED_SIZE, image);
    await sh('mkfs.ext4', '-q', image);
    await sh('mount', '-o', 'loop', image, volumes);
    await rm(join(volumes, 'lost+found'), { recursive: true });
  },
  pool: ({ volumes }) => volumes,
  remove: async ({ volumes }) => void (await sh('umount', volumes)),
};

/** A pool for each node, which volumes are copied between. A machine that is off takes its pool with it. */
const btrfs: FaultStorage = {
  wish: { backend: 'btrfs', poolPerNode: true },
  without: new Set(['fill', 'mkfs']),
  prepare: async () => undefined,
  pool: (layout, node, pid) => join(`/proc/${pid}/root`, layout.node(node + 1).poolMount, 'pool'),
  remove: async () => undefined,
};

export const STORAGES = { loopback, btrfs } as const;
