import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { ShellTimes } from './shell-steps.ts';

const run = promisify(execFile);

const SCRIPT = `
set -e
cd "$1"
now() { echo $((\${EPOCHREALTIME/./})); }
mkdir -p shell-mount
a=$(now)
btrfs subvolume create shell-volume >/dev/null
chmod 777 shell-volume
btrfs property set shell-volume compression zstd
btrfs qgroup limit 1G shell-volume
sync -f .
mount --bind shell-volume shell-mount
b=$(now)
umount shell-mount
c=$(now)
mount --bind shell-volume shell-mount
d=$(now)
umount shell-mount
btrfs subvolume delete shell-volume >/dev/null
rmdir shell-mount
echo $((b - a)) $((d - c))
`;

/** Does the bare steps of a volume in the btrfs at `directory` once: subvolume, compression, limit, on disk, mounted. */
export async function btrfsShellSteps(directory: string): Promise<ShellTimes> {
  const { stdout } = await run('bash', ['-c', SCRIPT, 'bash', directory]);
  const [create = Number.NaN, attach = Number.NaN] = stdout.trim().split(' ').map(Number);
  return { createMs: create / 1000, attachMs: attach / 1000 };
}
