import { readFile } from 'node:fs/promises';
import { derivedUuid, type NodeId } from '../kit/ids.ts';

/** A UUID that the kernel makes at every boot of this machine (random(4)). */
export async function readBootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}

/**
 * This machine's era: its boot id, new at every boot (contract 3.2). Where several agents share a machine each has an era of
 * its own, as the control service keeps one node for an era.
 */
export async function readEra(node: NodeId, sharedMachine: boolean): Promise<string> {
  const bootId = await readBootId();
  return sharedMachine ? derivedUuid(bootId, node) : bootId;
}
