import { openSync, writeFileSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { kill, pid, stdin, stdout } from 'node:process';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { errorCode, errorText } from '../../../kit/coded-error.ts';
import { type DetachedMount, mountDetached } from '../../host/detached-mount.ts';
import { Gate } from '../../host/gate.ts';
import { loadKernel } from '../../host/kernel.ts';
import { type LoopDevice, LoopDevices } from '../../host/loop-devices.ts';
import { answerSocket } from './admin-socket.ts';
import { GROWTH_SNAPSHOT } from './image-record.ts';
import { connectRados, type Rados } from './librados.ts';
import { bindImages, type OpenImage } from './librbd.ts';
import { ServedFile } from './served-file.ts';

/**
 * A process that serves one RBD image as a loop device, started by the agent and not ended with it. It says its address in the cluster
 * before it has the image open, and goes on only when it is told to; says the device, and holds it until it is told that the device is
 * mounted, or nobody is there any more who could say so. Then it lives for as long as the device is in use, in whichever mount namespace: the
 * kernel closes the file with the last of them, and its end says that all that was written is in the cluster and nothing more comes.
 */

/** An image waits for its cluster, as a disk does. Each write is on the storage daemons when it returns. */
const PATIENT = {
  ...{ client_mount_timeout: '20', rados_osd_op_timeout: '0', rados_mon_op_timeout: '0', rbd_cache: 'false' },
} as const;
const REQUESTS_AT_ONCE = 12;
/** Every pool with images has it. */
const DIRECTORY_OBJECT = 'rbd_directory';
/** Where memory gets short, nobody gains anything by the end of who serves a disk (proc(5)). */
const OOM_SCORE = '-900';

const { values: options } = parseArgs({
  allowPositionals: true,
  options: {
    conf: { type: 'string', default: '' },
    client: { type: 'string', default: '' },
    keyring: { type: 'string' },
    pool: { type: 'string', default: '' },
    image: { type: 'string', default: '' },
    admin_socket: { type: 'string', default: '' },
    // It is being made: where the cluster is full that fails, while what is in use waits.
    new: { type: 'boolean', default: false },
  },
});

let image: OpenImage | undefined;

async function main(): Promise<void> {
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(name, () => undefined);
  stdout.on('error', () => undefined);
  protectFromMemoryShortage();
  const words = createInterface({ input: stdin })[Symbol.asyncIterator]();
  const rados = await connectRados(
    { confPath: options.conf, client: options.client, keyringPath: options.keyring ?? null },
    PATIENT,
  );
  say({ address: rados.address });
  if ((await words.next()).done === true) return await end();
  image = await openLocked(rados);
  const file = await serve(image);
  const device = await attach(file.mount);
  await answerSocket(options.admin_socket, {
    status: async () => ({ addr_str: rados.address, blocklisted: await isCutOff(rados) }),
    grow: async ({ sizeBytes }) => {
      await image?.grow(Number(sizeBytes));
      file.served.sizeBytes = (await image?.size()) ?? 0;
      // The kernel learns of the size by asking for it.
      await stat(file.mount.path);
      return {};
    },
    takeSnapshot: async ({ name }) => ({ taken: await image?.takeSnapshot(String(name)) }),
    removeSnapshot: async ({ name }) => {
      await image?.removeSnapshot(String(name));
      return {};
    },
  });
  say({ device: device.path });
  await words.next();
  await device.close();
}

async function openLocked(rados: Rados): Promise<OpenImage> {
  const pool = await rados.openPool(options.pool);
  if (options.new) pool.tryWhenFull();
  const opened = await bindImages(pool.pointer, new Gate(REQUESTS_AT_ONCE)).open(options.image);
  if (opened === undefined) {
    throw Object.assign(new Error(`pool ${options.pool} has no image ${options.image}`), { code: 'ENOENT' });
  }
  image = opened;
  await opened.lock();
  if (await opened.hasSnapshot(GROWTH_SNAPSHOT)) {
    await opened.rollBack(GROWTH_SNAPSHOT);
    await opened.removeSnapshot(GROWTH_SNAPSHOT);
  }
  return opened;
}

async function serve(opened: OpenImage): Promise<{ readonly served: ServedFile; readonly mount: DetachedMount }> {
  const device = openSync('/dev/fuse', 'r+');
  const served = new ServedFile({
    device,
    image: opened,
    sizeBytes: await opened.size(),
    requestsAtOnce: REQUESTS_AT_ONCE,
    onLastClose: () => void end(),
  });
  const options = { source: 'flocker', fd: String(device), rootmode: '100600', user_id: '0', group_id: '0' };
  const mount = await mountDetached('fuse', options);
  served.serve().catch(fail);
  return { served, mount };
}

async function attach(mount: DetachedMount): Promise<LoopDevice> {
  const file = await open(mount.path, 'r+');
  try {
    return await new LoopDevices(loadKernel()).attach(file, true);
  } finally {
    await file.close();
  }
}

/** Whether the storage daemons refuse this client. Waits for as long as they are away. */
async function isCutOff(rados: Rados): Promise<boolean> {
  try {
    await rados.read({ pool: options.pool, namespace: '', name: DIRECTORY_OBJECT });
    return false;
  } catch (error) {
    if (errorCode(error) === 'ESHUTDOWN') return true;
    throw error;
  }
}

function protectFromMemoryShortage(): void {
  try {
    writeFileSync('/proc/self/oom_score_adj', OOM_SCORE);
  } catch {
    // Without the capability it has the score of its parent.
  }
}

function say(what: Readonly<Record<string, unknown>>): void {
  stdout.write(`${JSON.stringify(what)}\n`);
}

/** Closing the image gives back its lock. A thread that waits for the kernel would hold up any other way to end. */
async function end(): Promise<void> {
  await image?.close().catch(() => undefined);
  kill(pid, 'SIGKILL');
}

function fail(error: unknown): void {
  say({ error: { code: errorCode(error), message: errorText(error) } });
  void end();
}

process.on('uncaughtException', fail);
main().catch(fail);
