import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Milliseconds that the bare commands take, by the shell's own clock: its start is not counted. */
export interface ShellTimes {
  /** Nothing to mounted. */
  readonly createMs: number;
  /** An existing image to mounted. */
  readonly attachMs: number;
}

const SCRIPT = `
set -e
cd "$1"
now() { echo $((\${EPOCHREALTIME/./})); }
mkdir -p mnt
a=$(now)
truncate -s 1G image
mkfs.ext4 -q -F -m 0 -E lazy_itable_init=1,lazy_journal_init=1,nodiscard image
device=$(losetup --find --show image)
mount "$device" mnt
b=$(now)
umount mnt
losetup -d "$device"
c=$(now)
device=$(losetup --find --show image)
mount "$device" mnt
d=$(now)
umount mnt
losetup -d "$device"
rm image
rmdir mnt
echo $((b - a)) $((d - c))
`;

/** Does the bare steps of a 1 GiB ext4 loopback volume once, in `directory`. */
export async function shellSteps(directory: string): Promise<ShellTimes> {
  const { stdout } = await run('bash', ['-c', SCRIPT, 'bash', directory]);
  const [create = Number.NaN, attach = Number.NaN] = stdout.trim().split(' ').map(Number);
  return { createMs: create / 1000, attachMs: attach / 1000 };
}
