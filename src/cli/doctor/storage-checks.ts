import { dirname } from 'node:path';
import type { AgentConfig } from '../../agent/agent-config.ts';
import { isWithin } from '../../kit/mount-target.ts';
import { formatSize } from '../../kit/sizes.ts';
import { type Finding, fault, ok, unknown, warning } from './finding.ts';
import type { Machine } from './machine.ts';

/** A disk with less of it free is about to be full. */
const LEAST_FREE_SHARE = 0.05;

/** Mount root, room for what must be written, and what earlier agents left behind. */
export async function checkStorage(machine: Machine, config: AgentConfig): Promise<Finding[]> {
  return [
    await checkPropagation(machine, config.mountRoot),
    ...(await checkRoom(machine, config)),
    ...(await checkLoopDevices(machine)),
  ];
}

/** What the agent mounts has to reach the containers that run already, so its mount root has to be on a shared mount. */
async function checkPropagation(machine: Machine, mountRoot: string): Promise<Finding> {
  const above = (await machine.mounts()).filter(({ mountPoint }) => isWithin(mountRoot, mountPoint));
  const nearest = above.reduce<(typeof above)[number] | undefined>(
    (best, entry) => (best === undefined || entry.mountPoint.length >= best.mountPoint.length ? entry : best),
    undefined,
  );
  if (nearest === undefined) return unknown(`no mount table shows where ${mountRoot} lies`);
  if (nearest.peerGroup !== null) return ok(`${mountRoot} is on a shared mount (${nearest.mountPoint})`);
  return warning(
    `${mountRoot} lies on ${nearest.mountPoint}, which is not shared: the agent makes it so when it starts`,
    `If an agent runs here already, it was not started as root or runs in a mount namespace of its own: in its systemd unit ` +
      'leave out PrivateMounts, PrivateTmp, ProtectSystem and ReadWritePaths.',
  );
}

async function checkRoom(machine: Machine, config: AgentConfig): Promise<Finding[]> {
  const root = config.dataset?.['root_path'];
  const places = [config.statePath, ...(typeof root === 'string' ? [root] : [])];
  const findings: Finding[] = [];
  for (const place of places) {
    const path = await nearestPresent(machine, place);
    const room = await machine.room(path);
    if (room === undefined || room.totalBytes === 0) {
      findings.push(unknown(`${place}: how full its disk is could not be found out`));
      continue;
    }
    const share = room.availableBytes / room.totalBytes;
    const text = `${place}: ${formatSize(room.availableBytes)} of ${formatSize(room.totalBytes)} free`;
    findings.push(
      share < LEAST_FREE_SHARE ? warning(text, 'Make room: what cannot be written is refused to tasks.') : ok(text),
    );
  }
  return findings;
}

async function nearestPresent(machine: Machine, path: string): Promise<string> {
  if (path === '/' || (await machine.facts(path)) !== undefined) return path;
  return nearestPresent(machine, dirname(path));
}

async function checkLoopDevices(machine: Machine): Promise<Finding[]> {
  const left: string[] = [];
  for (const name of await machine.list('/sys/block')) {
    if (!name.startsWith('loop')) continue;
    const file = (await machine.readText(`/sys/block/${name}/loop/backing_file`))?.trim();
    if (file?.endsWith(' (deleted)') === true) left.push(`/dev/${name} on ${file}`);
  }
  if (left.length === 0) return [ok('no loop device is on a file that is gone')];
  return left.map((device) =>
    fault(
      `${device}: its file was deleted, and its room is not given back`,
      'Unmount what is on it, then losetup -d it.',
    ),
  );
}
