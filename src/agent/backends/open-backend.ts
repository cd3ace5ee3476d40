import { randomUUID } from 'node:crypto';
import { type Clock, systemClock } from '../../kit/clock.ts';
import type { NewUuid } from '../../kit/ids.ts';
import { type Logger, silentLogger } from '../../kit/logger.ts';
import { DEFAULT_SIZE_BYTES } from '../../model/dataset.ts';
import { FILESYSTEM_TYPES } from '../host/filesystem.ts';
import type { Backend } from './backend.ts';
import { BackendSettings, BackendSettingsError } from './backend-settings.ts';
import { openBtrfs } from './btrfs/btrfs.ts';
import { readBtrfsSettings } from './btrfs/settings.ts';
import { openCeph } from './ceph/ceph.ts';
import { readCephSettings } from './ceph/settings.ts';
import { settingsOf } from './dataset-settings.ts';
import { openDirectory } from './directory/directory.ts';
import type { LoopbackProfile } from './loopback/image-plan.ts';
import { openLoopback } from './loopback/loopback.ts';
import { MEDIA, readStatedTraits, STATED_KEYS } from './statements.ts';

export interface BackendSurroundings {
  /** Volumes appear at `<mountRoot>/<dataset id>`. */
  readonly mountRoot: string;
  /** Name of this node in the pool, unless the settings give a `compute_instance_id`. */
  readonly instance: string;
  readonly clock?: Clock;
  readonly newUuid?: NewUuid;
  readonly log?: Logger;
}

/** Profiles that exist when the operator names none; Flocker's clients expect these three (contract 1.10). */
const DEFAULT_PROFILES = ['gold', 'silver', 'bronze'];

/**
 * Opens the backend that the `dataset` section of `agent.yml` names. Fails with a {@link BackendSettingsError} that
 * names the key at fault, or with a `BackendError` when the pool cannot be used.
 */
export async function openBackend(
  section: Readonly<Record<string, unknown>>,
  surroundings: BackendSurroundings,
): Promise<Backend> {
  const settings = new BackendSettings(section, 'dataset');
  const backend = settings.choice('backend', ['loopback', 'directory', 'btrfs', 'ceph']);
  const common = {
    mountRoot: surroundings.mountRoot,
    instance: settings.text('compute_instance_id') ?? surroundings.instance,
    // Flocker's loopback rounds to one byte: the state then shows the very size that was configured.
    allocationUnitBytes: settings.sizeBytes('allocation_unit') ?? 1,
    defaultSizeBytes: settings.sizeBytes('default_size') ?? DEFAULT_SIZE_BYTES,
    clock: surroundings.clock ?? systemClock,
    newUuid: surroundings.newUuid ?? randomUUID,
    log: surroundings.log ?? silentLogger,
    statements: { media: settings.choice('media', MEDIA), profiles: readProfiles(settings, readStatedTraits) },
  };
  switch (backend) {
    case undefined:
      throw new BackendSettingsError('dataset.backend is missing: set it to loopback, directory, btrfs or ceph');
    case 'loopback':
      settings.requireOnly(settingsOf('loopback'));
      return await openLoopback({
        ...common,
        rootPath: settings.path('root_path') ?? '/var/lib/flocker/loopback',
        defaultFilesystem: settings.choice('filesystem', FILESYSTEM_TYPES) ?? 'ext4',
        profiles: readProfiles(settings, loopbackProfile),
      });
    case 'directory':
      settings.requireOnly(settingsOf('directory'));
      return await openDirectory({
        ...common,
        rootPath: settings.path('root_path') ?? '/var/lib/flocker/directory',
        profiles: readProfiles(settings, directoryProfile),
      });
    case 'btrfs':
      settings.requireOnly(settingsOf('btrfs'));
      return await openBtrfs({ ...common, ...readBtrfsSettings(settings) });
    case 'ceph':
      settings.requireOnly(settingsOf('ceph'));
      return await openCeph({ ...common, ...readCephSettings(settings) });
  }
}

function readProfiles<Profile extends object>(
  settings: BackendSettings,
  parse: (profile: BackendSettings) => Profile,
): Readonly<Record<string, Profile>> {
  const sections = settings.sections('profiles');
  const empty = new BackendSettings({}, 'dataset.profiles');
  const entries = sections ?? new Map(DEFAULT_PROFILES.map((name) => [name, empty]));
  return Object.fromEntries([...entries].map(([name, profile]) => [name, parse(profile)]));
}

function loopbackProfile(profile: BackendSettings): LoopbackProfile {
  profile.requireOnly(['filesystem', ...STATED_KEYS]);
  const filesystem = profile.choice('filesystem', FILESYSTEM_TYPES);
  return filesystem === undefined ? {} : { filesystem };
}

function directoryProfile(profile: BackendSettings): object {
  profile.requireOnly(STATED_KEYS);
  return {};
}
