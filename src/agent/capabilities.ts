import { readFile } from 'node:fs/promises';

/** CAP_SYS_RESOURCE, the bit's number in `<linux/capability.h>`. */
const SYS_RESOURCE = 24n;

/** Whether this process may grow a mounted ext4: the kernel wants CAP_SYS_RESOURCE for it. */
export async function growsMounted(statusPath = '/proc/self/status'): Promise<boolean> {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(await readFile(statusPath, 'utf8'))?.[1];
  return effective !== undefined && ((BigInt(`0x${effective}`) >> SYS_RESOURCE) & 1n) === 1n;
}
