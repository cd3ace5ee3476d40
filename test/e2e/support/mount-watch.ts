import { lstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ClusterNode } from './up.ts';

const PAUSE_MS = 2;

/** The hosts that have a dataset mounted now, by the kernel's mount table or by their links. */
export function hostsThatMounted(nodes: readonly ClusterNode[], datasetId: string): string[] {
  const table = readFileSync('/proc/self/mountinfo', 'utf8');
  const mounted = nodes.filter(({ mount_root: root }) => {
    const path = join(root, datasetId);
    return table.includes(` ${path} `) || isLink(path);
  });
  return mounted.map(({ host }) => host);
}

/** Looks again and again at which nodes have a dataset mounted. */
export class MountWatch {
  readonly #nodes: readonly ClusterNode[];
  readonly #datasetId: string;
  readonly #timer: NodeJS.Timeout;
  /** Every set of nodes that was ever seen together, as their hosts. */
  readonly #seen = new Set<string>();
  #looks = 0;

  constructor(nodes: readonly ClusterNode[], datasetId: string) {
    this.#nodes = nodes;
    this.#datasetId = datasetId;
    this.#timer = setInterval(() => this.#note(), PAUSE_MS);
  }

  /** Stops looking; resolves with what was seen, an entry for each set of nodes, and how often it looked. */
  stop(): { readonly seen: readonly string[]; readonly looks: number } {
    clearInterval(this.#timer);
    return { seen: [...this.#seen].sort(), looks: this.#looks };
  }

  #note(): void {
    this.#looks += 1;
    this.#seen.add(hostsThatMounted(this.#nodes, this.#datasetId).join(' and '));
  }
}

function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
}
