import { findProgram, ProgramError, SYSTEM_ENVIRONMENT } from '../../../agent/host/run-program.ts';

/** Programs of Ceph, and the Debian packages that have them; that of the manager has none of its modules, which it cannot do without. */
const PACKAGES = {
  'ceph-mon': ['ceph-mon'],
  'ceph-mgr': ['ceph-mgr', 'ceph-mgr-modules-core'],
  'ceph-osd': ['ceph-osd'],
  'ceph-mds': ['ceph-mds'],
  'ceph-fuse': ['ceph-fuse'],
  'ceph-authtool': ['ceph-common'],
  monmaptool: ['ceph-base'],
} as const;

export type CephProgram = keyof typeof PACKAGES;
/** Path of each. */
export type CephPrograms = Readonly<Record<CephProgram, string>>;

/** Finds all programs that a cluster needs. Fails with `program_missing`, which names all that are not there and their packages. */
export async function findCephPrograms(searchPath: string = SYSTEM_ENVIRONMENT.PATH): Promise<CephPrograms> {
  const found = new Map<CephProgram, string>();
  const missing: CephProgram[] = [];
  for (const name of Object.keys(PACKAGES) as CephProgram[]) {
    try {
      found.set(name, await findProgram({ name, debianPackage: PACKAGES[name][0] }, searchPath));
    } catch (error) {
      if (!(error instanceof ProgramError)) throw error;
      missing.push(name);
    }
  }
  if (missing.length > 0) {
    const packages = new Set(missing.flatMap((name) => PACKAGES[name]));
    throw new ProgramError(
      'program_missing',
      `Ceph is not installed here, or not all of it (${missing.join(', ')}): ` +
        `install it (Debian: apt-get install --no-install-recommends ${[...packages].join(' ')})`,
    );
  }
  return Object.fromEntries(found) as unknown as CephPrograms;
}
