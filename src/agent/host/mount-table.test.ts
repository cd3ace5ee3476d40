import { describe, expect, it } from 'vitest';
import { mountsAt, parseMountTable, readMountTable } from './mount-table.ts';

const TEXT = String.raw`27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
40 27 7:3 / /mnt/with\040space\134and\011tab rw shared:12 - ext4 /dev/loop3 rw
41 27 254:0 /srv /mnt/bind rw shared:7 master:2 propagate_from:1 - ext4 /dev/vda rw
42 41 0:50 / /mnt/bind rw - tmpfs none rw
a line of another kind
`;

describe('parseMountTable', () => {
  it('reads octal escapes, propagation and roots', () => {
    const table = parseMountTable(TEXT);
    expect(table).toHaveLength(4);
    expect(table[0]).toMatchObject({ id: 27, parentId: 1, device: '254:0', root: '/', peerGroup: null, type: 'ext4' });
    expect(table[1]).toMatchObject({ mountPoint: '/mnt/with space\\and\ttab', peerGroup: 12, source: '/dev/loop3' });
    expect(table[2]).toMatchObject({ root: '/srv', peerGroup: 7 });
  });

  it('finds stacked mounts, the topmost last', () => {
    expect(mountsAt(parseMountTable(TEXT), '/mnt/bind').map(({ type }) => type)).toEqual(['ext4', 'tmpfs']);
    expect(mountsAt(parseMountTable(TEXT), '/mnt')).toEqual([]);
  });
});

describe('readMountTable', () => {
  it('reads the table of this process', async () => {
    expect((await readMountTable()).some(({ mountPoint, type }) => mountPoint === '/proc' && type === 'proc')).toBe(
      true,
    );
  });
});
