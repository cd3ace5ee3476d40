import { describe, expect, it } from 'vitest';
import { findCephPrograms } from './programs.ts';

describe('the programs of Ceph', () => {
  it('are all named when they are missing, with the packages that have them', async () => {
    const error = await findCephPrograms('/nowhere').catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: 'program_missing',
      message:
        'Ceph is not installed here, or not all of it (ceph-mon, ceph-mgr, ceph-osd, ceph-mds, ceph-fuse, ceph-authtool, monmaptool): ' +
        'install it (Debian: apt-get install --no-install-recommends ceph-mon ceph-mgr ceph-mgr-modules-core ceph-osd ceph-mds ceph-fuse ceph-common ceph-base)',
    });
  });
});
