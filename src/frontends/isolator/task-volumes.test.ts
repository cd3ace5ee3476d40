import { describe, expect, it } from 'vitest';
import type { ContainerConfig } from './isolator-schemas.ts';
import { volumesOf } from './task-volumes.ts';

function config(variables: Readonly<Record<string, string>>, more: Partial<ContainerConfig> = {}): ContainerConfig {
  const listed = Object.entries(variables).map(([name, value]) => ({ name, value, type: 'VALUE' }));
  return { command_info: { environment: { variables: listed } }, ...more };
}

const FLOCKER = { FLOCKER_ID: 'db', FLOCKER_CONTAINER_VOLUME_PATH: '/data' };
const DVDI = { DVDI_VOLUME_NAME: 'db', DVDI_VOLUME_DRIVER: 'flocker', DVDI_VOLUME_CONTAINERPATH: '/data' };

describe('volumesOf', () => {
  it('reads all variables of a slot', () => {
    const all = {
      ...FLOCKER,
      FLOCKER_SIZE: '1.5GiB',
      FLOCKER_PROFILE: 'gold',
      FLOCKER_FS: 'xfs',
      FLOCKER_MODE: 'ro',
      FLOCKER_CREATE: 'never',
      FLOCKER_ON_EXIT: 'delete',
    };
    expect(volumesOf(config(all))).toEqual([
      {
        variable: 'FLOCKER_ID',
        name: 'db',
        containerPath: '/data',
        sizeBytes: 1.5 * 2 ** 30,
        profile: 'gold',
        filesystem: 'xfs',
        mode: 'ro',
        create: 'never',
        onExit: 'delete',
        mayMakeInTmp: false,
      },
    ]);
  });

  it('keeps slots apart, in the order of their numbers', () => {
    const variables = {
      FLOCKER_ID7: 'seven',
      FLOCKER_CONTAINER_VOLUME_PATH7: 'g',
      FLOCKER_MODE7: 'ro',
      FLOCKER_ID2: 'two',
      FLOCKER_CONTAINER_VOLUME_PATH2: 'b',
      ...FLOCKER,
    };
    const read = volumesOf(config(variables)).map(({ name, mode, containerPath }) => [name, mode, containerPath]);
    expect(read).toEqual([
      ['db', 'rw', '/data'],
      ['two', 'rw', 'b'],
      ['seven', 'ro', 'g'],
    ]);
  });

  it('takes no suffix and 0 for the same slot', () => {
    expect(volumesOf(config({ FLOCKER_ID0: 'db', FLOCKER_CONTAINER_VOLUME_PATH: '/data' }))).toMatchObject([
      { name: 'db', containerPath: '/data' },
    ]);
    expect(volumesOf(config({ ...FLOCKER, FLOCKER_ID0: 'db' }))).toHaveLength(1);
    expect(() => volumesOf(config({ ...FLOCKER, FLOCKER_ID0: 'other' }))).toThrow('FLOCKER_ID and FLOCKER_ID0 mean');
  });

  it.each([
    [{ FLOCKER_ID: 'db' }, 'FLOCKER_ID set without FLOCKER_CONTAINER_VOLUME_PATH,'],
    [{ FLOCKER_CONTAINER_VOLUME_PATH3: '/d' }, 'FLOCKER_CONTAINER_VOLUME_PATH3 set without FLOCKER_ID3,'],
    [{ FLOCKER_ID1: 'db', FLOCKER_CONTAINER_VOLUME_PATH2: '/d' }, 'FLOCKER_ID1 set without'],
    [{ FLOCKER_SIZE4: '1g' }, 'FLOCKER_SIZE4 set without FLOCKER_ID4,'],
    [{ ...FLOCKER, FLOCKER_ID10: 'x' }, 'variable FLOCKER_ID10 is not FLOCKER_ID with nothing or one digit'],
    [{ FLOCKER_IDX: 'x' }, 'variable FLOCKER_IDX'],
    [{ ...FLOCKER, FLOCKER_SIZE_1: '1g' }, 'variable FLOCKER_SIZE_1'],
    [{ ...FLOCKER, FLOCKER_ID: '' }, 'FLOCKER_ID is empty'],
    [{ ...FLOCKER, FLOCKER_SIZE: 'large' }, 'FLOCKER_SIZE is "large"; write a size'],
    [{ ...FLOCKER, FLOCKER_SIZE: '1MiB' }, 'the smallest is 64 MiB'],
    [{ ...FLOCKER, FLOCKER_FS: 'btrfs' }, 'FLOCKER_FS is "btrfs"; it can be ext4 or xfs'],
    [{ ...FLOCKER, FLOCKER_MODE: 'RW' }, 'FLOCKER_MODE is "RW"; it can be rw or ro'],
    [{ ...FLOCKER, FLOCKER_CREATE: 'yes' }, 'it can be auto or never'],
    [{ ...FLOCKER, FLOCKER_ON_EXIT: 'destroy' }, 'it can be keep or delete'],
    [{ ...FLOCKER, FLOCKER_ID: '../../etc' }, 'volume'],
    [{ ...FLOCKER, FLOCKER_ID1: 'db', FLOCKER_CONTAINER_VOLUME_PATH1: '/e' }, 'both ask for volume db'],
    [{ ...FLOCKER, ...DVDI }, 'both ask for volume db'],
    [{ ...DVDI, DVDI_VOLUME_DVDCLI: '/tmp/mine' }, 'DVDI_VOLUME_DVDCLI is refused'],
    [{ ...DVDI, DVDI_VOLUME_NAME11: 'x' }, 'variable DVDI_VOLUME_NAME11'],
    [{ ...DVDI, DVDI_VOLUME_CONTAINERPATH: '' }, 'without DVDI_VOLUME_CONTAINERPATH'],
    [{ ...DVDI, DVDI_VOLUME_OPTS: 'size=10GB' }, 'write the number of gigabytes'],
    [{ ...DVDI, DVDI_VOLUME_OPTS: 'newfstype=zfs' }, 'newfstype in DVDI_VOLUME_OPTS is "zfs"'],
    [{ ...DVDI, DVDI_VOLUME_OPTS: 'overwritefs=true' }, 'overwritefs in DVDI_VOLUME_OPTS is "true"'],
    [{ ...DVDI, DVDI_VOLUME_OPTS: 'snapshotid=7' }, 'has "snapshotid=7"'],
    [{ ...DVDI, DVDI_VOLUME_EXPLICITCREATE: '1' }, 'it can be true or false'],
  ])('refuses %j', (variables, message) => {
    expect(() => volumesOf(config(variables))).toThrow(message);
  });

  it('refuses a variable that is set twice to different values', () => {
    const variables = [
      { name: 'FLOCKER_ID', value: 'a' },
      { name: 'FLOCKER_ID', value: 'b' },
      { name: 'FLOCKER_CONTAINER_VOLUME_PATH', value: '/d' },
    ];
    expect(() => volumesOf({ command_info: { environment: { variables } } })).toThrow('FLOCKER_ID is set twice');
  });

  it.each([
    [{ FLOCKER_CONTROL_SERVICE: 'x', FLOCKER_CERTS_PATH: '/etc', FLOCKER_: '' }],
    [{ DVDI_VOLUME_NAME: 'x', DVDI_VOLUME_CONTAINERPATH: '/x' }],
    [{ DVDI_VOLUME_NAME: 'x', DVDI_VOLUME_DRIVER: 'rexray', DVDI_VOLUME_DVDCLI: '/x', DVDI_VOLUME_NAME99: 'x' }],
    [{ ...DVDI, DVDI_VOLUME_NAME: '' }],
    [{ PATH: '/bin' }],
  ])('leaves %j alone', (variables) => {
    expect(volumesOf(config(variables))).toEqual([]);
  });

  it('reads what the DVDI isolator understood', () => {
    const variables = {
      DVDI_VOLUME_NAME3: 'db',
      DVDI_VOLUME_DRIVER3: 'Flocker',
      DVDI_VOLUME_CONTAINERPATH3: '/tmp/db',
      DVDI_VOLUME_OPTS3: 'size=10,iops=150,volumetype=io1,,newfstype=xfs,profile=gold,overwritefs=false',
      DVDI_VOLUME_EXPLICITCREATE3: ' TRUE ',
      DVDI_VOLUME_NAME4: 'other',
      DVDI_VOLUME_DVDCLI4: '/usr/bin/dvdcli',
    };
    expect(volumesOf(config(variables))).toEqual([
      {
        variable: 'DVDI_VOLUME_NAME3',
        name: 'db',
        containerPath: '/tmp/db',
        sizeBytes: 10 * 2 ** 30,
        profile: 'gold',
        filesystem: 'xfs',
        mode: 'rw',
        create: 'never',
        onExit: 'keep',
        mayMakeInTmp: true,
      },
    ]);
    const [fraction] = volumesOf(config({ ...DVDI, DVDI_VOLUME_OPTS: 'size=0.3' }));
    expect(fraction?.sizeBytes).toBe(Math.ceil((0.3 * 2 ** 30) / 1024) * 1024);
  });

  it('does not read secrets', () => {
    const variables = [
      { name: 'FLOCKER_ID', type: 'SECRET' },
      { name: 'FLOCKER_PROFILE', type: 'SECRET', value: 'x' },
    ];
    expect(volumesOf({ command_info: { environment: { variables } } })).toEqual([]);
  });

  it('has nothing for DEBUG containers, and none for containers without variables', () => {
    expect(volumesOf(config({ FLOCKER_ID: 'db' }, { container_class: 'DEBUG' }))).toEqual([]);
    expect(volumesOf(config(FLOCKER, { container_class: 'DEFAULT' }))).toHaveLength(1);
    expect(volumesOf({})).toEqual([]);
  });
});
