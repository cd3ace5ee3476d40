import { describe, expect, it } from 'vitest';
import { parseVolumeArgument, parseVolumeArguments } from './volume-argument.ts';

describe('parseVolumeArgument', () => {
  it('reads all options', () => {
    expect(parseVolumeArgument('db:/data')).toEqual({
      spec: { name: 'db', create: 'auto', mode: 'rw' },
      target: '/data',
    });
    expect(parseVolumeArgument('my db:/srv//a/./b/:ro,size=1.5GiB,profile=gold,fs=xfs,create=never')).toEqual({
      spec: {
        name: 'my db',
        create: 'never',
        mode: 'ro',
        sizeBytes: 1.5 * 2 ** 30,
        profile: 'gold',
        filesystem: 'xfs',
      },
      target: '/srv/a/b',
    });
  });

  it.each([
    ['db', 'bad_request'],
    ['', 'bad_request'],
    ['db:/a:ro:x', 'bad_request'],
    ['db:/a:rx', 'bad_request'],
    ['db:/a,size=', 'bad_request'],
    ['db:/a,size=lots', 'bad_request'],
    ['db:/a,size=1GiB,size=2GiB', 'bad_request'],
    ['db:/a:ro,rw', 'bad_request'],
    ['db:/a,fs=zfs', 'bad_request'],
    ['db:/a,', 'bad_request'],
    ['db:/a,size=1KiB', 'bad_size'],
    [':/a', 'bad_name'],
    ['..:/a', 'bad_name'],
    ['a/b:/a', 'bad_name'],
    ['db:', 'bad_target'],
    ['db:data', 'bad_target'],
    ['db:./data', 'bad_target'],
    ['db:/data/../etc', 'bad_target'],
    ['db:/', 'bad_target'],
    ['db://', 'bad_target'],
    ['db:/./', 'bad_target'],
    ['db:/etc', 'bad_target'],
    ['db:/etc/', 'bad_target'],
    ['db://etc/app', 'bad_target'],
    ['db:/proc/self', 'bad_target'],
    ['db:/sys', 'bad_target'],
    ['db:/dev/shm', 'bad_target'],
    ['db:/run/x', 'bad_target'],
    ['db:/usr/share', 'bad_target'],
    ['db:/lib64', 'bad_target'],
    ['db:/lib/x', 'bad_target'],
    ['db:/boot', 'bad_target'],
    ['db:/root', 'bad_target'],
    ['db:/var', 'bad_target'],
    ['db:/da\nta', 'bad_target'],
    [`db:/${'x'.repeat(4096)}`, 'bad_target'],
  ])('refuses %j', (text, code) => {
    expect(() => parseVolumeArgument(text)).toThrow(expect.objectContaining({ code }));
  });

  it('refuses mount points that cover each other', () => {
    expect(() => parseVolumeArguments(['a:/data', 'b:/data/'])).toThrow('both be mounted at /data');
    expect(() => parseVolumeArguments(['a:/data/x', 'b:/data'])).toThrow('/data/x is inside /data');
    expect(parseVolumeArguments(['a:/data', 'a:/database', 'b:/root/x', 'c:/var/lib/x'])).toHaveLength(4);
  });
});
