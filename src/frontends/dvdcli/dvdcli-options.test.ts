import { describe, expect, it } from 'vitest';
import { parseDvdcliOptions } from './dvdcli-options.ts';

const GIB = 2 ** 30;

describe('parseDvdcliOptions', () => {
  it.each<[string, object]>([
    ['size=10', { sizeBytes: 10 * GIB }],
    ['size=0.5', { sizeBytes: GIB / 2 }],
    ['size=0.1', { sizeBytes: 107_374_592 }],
    ['SIZE= 10 ', { sizeBytes: 10 * GIB }],
    ['size=512MiB', { sizeBytes: 512 * 2 ** 20 }],
    ['size=1.5g', { sizeBytes: 1.5 * GIB }],
    ['size=67108864b', { sizeBytes: 2 ** 26 }],
    ['profile=gold', { profile: 'gold' }],
    ['newFSType=xfs', { filesystem: 'xfs' }],
    ['access=ro', { mode: 'ro' }],
    ['access=rw', {}],
    ['overwriteFS=false', {}],
  ])('%s', (option, wish) => {
    expect(parseDvdcliOptions('db', [option])).toEqual({ wish: { mode: 'rw', ...wish }, overwrite: false, notes: [] });
  });

  it('takes the last of several, and says what changes nothing', () => {
    expect(parseDvdcliOptions('db', ['size=1', 'size=2', 'iops=100', 'volumetype=io1', 'overwritefs=true'])).toEqual({
      wish: { mode: 'rw', sizeBytes: 2 * GIB },
      overwrite: true,
      notes: [
        'option iops changes nothing here: choose a profile instead',
        'option volumetype changes nothing here: choose a profile instead',
      ],
    });
  });

  it.each(['size=', 'size=ten', 'size=-1', 'size=10x', 'size=10000000000000'])('%s is no size', (option) => {
    expect(() => parseDvdcliOptions('db', [option])).toThrow(expect.objectContaining({ code: 'bad_size' }));
  });

  it.each(['siez=10', 'newfstype=btrfs', 'access=all', 'overwritefs=1', 'snapshotID=s-1', 'volumeID=v-1', '=x'])(
    '%s is refused',
    (option) => {
      expect(() => parseDvdcliOptions('db', [option])).toThrow(expect.objectContaining({ code: 'refused' }));
    },
  );
});
