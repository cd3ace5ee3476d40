import { checkSpec, type VolumeSpec } from '../../volumes/volume-spec.ts';
import { dvdiRequests } from './dvdi-variables.ts';
import { flockerRequests } from './flocker-variables.ts';
import type { ContainerConfig } from './isolator-schemas.ts';
import { badVariable } from './variable-slots.ts';
import type { VolumeRequest } from './volume-request.ts';

/**
 * The volumes a container asks for; none for a DEBUG container, which lives in the mounts of its parent. Only
 * `command_info` counts: for nested containers `executor_info` is their parent's. Values of secrets never come here.
 *
 * Fails with `bad_variable`, or as `checkSpec` does.
 */
export function volumesOf(config: ContainerConfig): VolumeRequest[] {
  if (config.container_class === 'DEBUG') return [];
  const all = config.command_info?.environment?.variables ?? [];
  const variables = all.filter(({ type }) => type !== 'SECRET');
  const requests = [...flockerRequests(variables), ...dvdiRequests(variables)];
  const seen = new Map<string, string>();
  for (const request of requests) {
    checkSpec(specOf(request));
    const before = seen.get(request.name);
    if (before !== undefined)
      badVariable(`${before} and ${request.variable} both ask for volume ${request.name}; a task mounts a volume once`);
    seen.set(request.name, request.variable);
  }
  return requests;
}

export function specOf(request: VolumeRequest, knownProfiles?: readonly string[]): VolumeSpec {
  const { name, create, mode, sizeBytes, profile, filesystem } = request;
  return {
    ...{ name, create, mode },
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
    ...(profile === undefined ? {} : { profile }),
    ...(filesystem === undefined ? {} : { filesystem }),
    ...(knownProfiles === undefined ? {} : { knownProfiles }),
  };
}
