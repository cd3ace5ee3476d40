import { readdirSync, readFileSync } from 'node:fs';
import type { FaultCluster } from './fault-cluster.ts';
import type { History } from './history.ts';
import { datasetOf, mountsBelow } from './mounts.ts';

const PAUSE_MS = 10;

/** Looks again and again into the kernel's tables, for a dataset that two nodes can write to. */
export class Census {
  readonly #cluster: FaultCluster;
  readonly #history: History;
  readonly #timer: NodeJS.Timeout;
  readonly #told = new Set<string>();
  looks = 0;

  constructor(cluster: FaultCluster, history: History) {
    this.#cluster = cluster;
    this.#history = history;
    this.#timer = setInterval(() => this.#look(), PAUSE_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    this.looks += 1;
    const before = this.#mounted();
    const shared = [...before].filter(([, nodes]) => nodes.length > 1);
    if (shared.length > 0) {
      // The tables are read one after the other, and a volume may have moved in between: it counts when both still have it.
      const again = this.#mounted();
      for (const [dataset, nodes] of shared)
        if (nodes.every((node) => again.get(dataset)?.includes(node) === true))
          this.#tell(`${dataset} is mounted read-write on nodes ${nodes.join(' and ')}`);
    }
    for (const [dataset, devices] of boundTwice(this.#cluster.directory))
      this.#tell(`${dataset} is bound to ${devices.join(' and ')}`);
  }

  #tell(what: string): void {
    if (this.#told.has(what)) return;
    this.#told.add(what);
    this.#history.violated(what);
  }

  /** Dataset → the nodes that have it mounted read-write. */
  #mounted(): Map<string, number[]> {
    const mounted = new Map<string, number[]>();
    for (const { machine, mountRoot, callers, number } of this.#cluster.nodes) {
      if (!machine.on) continue;
      const here = [mountRoot, callers].flatMap((place) => mountsBelow(place, machine.pid));
      const datasets = here.filter(({ writable }) => writable).map((mount) => datasetOf(mount) ?? mount.point);
      for (const dataset of new Set(datasets)) mounted.set(dataset, [...(mounted.get(dataset) ?? []), number]);
    }
    return mounted;
  }
}

/** Loop devices of images below a directory, with the dataset of each. */
export function loopsBelow(directory: string): { readonly device: string; readonly path: string }[] {
  const devices = readdirSync('/sys/block').filter((name) => name.startsWith('loop'));
  return devices
    .map((device) => ({ device, path: text(`/sys/block/${device}/loop/backing_file`).trim() }))
    .filter(({ path }) => path.startsWith(directory));
}

function boundTwice(directory: string): [string, string[]][] {
  const devices = new Map<string, string[]>();
  for (const { device, path } of loopsBelow(directory)) {
    const dataset = /([0-9a-f-]{36})\/[^/]*$/.exec(path)?.[1];
    if (dataset !== undefined) devices.set(dataset, [...(devices.get(dataset) ?? []), device]);
  }
  return [...devices].filter(([, names]) => names.length > 1);
}

function text(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
