import { readFileSync } from 'node:fs';

/** A mount as the kernel tells it about a process. */
export interface Mount {
  readonly point: string;
  readonly writable: boolean;
  /** Major and minor number. */
  readonly device: string;
  /** What of the filesystem is shown. */
  readonly root: string;
}

export function mountsOf(pid: number | 'self'): Mount[] {
  const lines = text(`/proc/${pid}/mountinfo`).split('\n');
  return lines.map((line) => {
    const [, , device = '', root = '', point = '', options = ''] = line.split(' ');
    return { point, device, root, writable: options.split(',').includes('rw') };
  });
}

export function mountsBelow(directory: string, pid: number): Mount[] {
  return mountsOf(pid).filter(({ point }) => point.startsWith(`${directory}/`));
}

/** The dataset that is mounted: the directory has its name that its image lies in, or, on btrfs, that it is. */
export function datasetOf({ device, root }: Mount): string | undefined {
  const path = root === '/' ? text(`/sys/dev/block/${device}/loop/backing_file`) : root;
  return [...path.trim().matchAll(/\/([0-9a-f-]{36})(?=\/|$)/g)].at(-1)?.[1];
}

function text(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
