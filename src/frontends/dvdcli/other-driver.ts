import type { Clock } from '../../kit/clock.ts';
import { withDeadline } from '../../kit/deadline.ts';
import type { DvdcliRequest } from './arguments.ts';
import { DOCKER_DIRECTORIES, type DriverDirectories, findDriver } from './find-driver.ts';
import { PluginClient } from './plugin-client.ts';

/** As long as Mesos waits: 120 s for a mount, 10 min for an unmount. */
const TIMEOUT_MS = 118_000;
const UNMOUNT_TIMEOUT_MS = 590_000;

interface Outcome {
  readonly lines: readonly string[];
  readonly notes: readonly string[];
}

/** Does a command with a driver that is a Docker volume plugin, with the calls of the original dvdcli. */
export async function otherDriver(
  request: DvdcliRequest,
  { clock }: { readonly clock: Clock },
  directories: DriverDirectories = DOCKER_DIRECTORIES,
): Promise<Outcome> {
  const driver = await findDriver(request.driver, directories);
  const timeoutMs = request.command === 'unmount' ? UNMOUNT_TIMEOUT_MS : TIMEOUT_MS;
  return withDeadline(clock, timeoutMs, `${request.command} with driver ${driver.name}`, undefined, async (signal) => {
    const client = new PluginClient(driver, clock, signal);
    await client.activate();
    return { lines: await run(client, request), notes: [] };
  });
}

async function run(client: PluginClient, request: DvdcliRequest): Promise<string[]> {
  const { command, name, explicitCreate } = request;
  const named = { Name: name };
  const create = { Name: name, Opts: optionsOf(request.options) };
  switch (command) {
    case 'create':
      await client.call('/VolumeDriver.Create', create);
      return [];
    case 'remove':
      await get(client, name);
      await client.call('/VolumeDriver.Remove', named);
      return [];
    case 'mount': {
      try {
        await get(client, name);
      } catch (error) {
        if (explicitCreate) throw error;
        await client.call('/VolumeDriver.Create', create);
      }
      const { Mountpoint } = await client.call('/VolumeDriver.Mount', named);
      if (typeof Mountpoint === 'string' && Mountpoint !== '') return [Mountpoint];
      throw new Error(`volume ${name}: the driver does not say where it mounted it`);
    }
    case 'unmount':
      await get(client, name);
      await client.call('/VolumeDriver.Unmount', named);
      return [];
    case 'path': {
      const known = (await get(client, name)).mountpoint;
      const path = known === '' ? text((await client.call('/VolumeDriver.Path', named))['Mountpoint']) : known;
      return path === '' ? [] : [path];
    }
    case 'get':
      return [(await get(client, name)).name];
    case 'list': {
      const { Volumes } = await client.call('/VolumeDriver.List', {});
      const volumes: readonly unknown[] = Array.isArray(Volumes) ? Volumes : [];
      return volumes.map((volume) => volumeOf(volume).name);
    }
    default:
      return command satisfies never;
  }
}

async function get(client: PluginClient, name: string): Promise<{ name: string; mountpoint: string }> {
  const { Volume } = await client.call('/VolumeDriver.Get', { Name: name });
  if (typeof Volume !== 'object' || Volume === null) throw new Error(`volume ${name}: the driver does not know it`);
  return volumeOf(Volume);
}

function volumeOf(value: unknown): { name: string; mountpoint: string } {
  const { Name, Mountpoint } = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  return { name: text(Name), mountpoint: text(Mountpoint) };
}

function optionsOf(options: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    options.map((option) => [option.slice(0, option.indexOf('=')), option.slice(option.indexOf('=') + 1)]),
  );
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
