import type { Static } from 'typebox';
import { chainText, holderIdOf, parseContainerId } from './container-id.ts';
import { IsolatorError } from './isolator-error.ts';
import type { ContainerConfig, PrepareCall } from './isolator-schemas.ts';
import type { Applicant } from './preparation.ts';
import { volumesOf } from './task-volumes.ts';

/** Mesos's default of `--sandbox_directory`. */
const USUAL_SANDBOX_DIRECTORY = '/mnt/mesos/sandbox';
const LONGEST_DETAIL = 1000;

/** Who asks for what in a `prepare`; undefined when the container has nothing to do with volumes. */
export function applicantOf(
  call: Readonly<Static<typeof PrepareCall>>,
  settings: { readonly allowedPaths: readonly string[] },
): Applicant | undefined {
  const { container_config: config, sandbox_directory: sandboxDirectory = USUAL_SANDBOX_DIRECTORY } = call;
  const containerId = parseContainerId(call.container_id);
  const requests = volumesOf(config);
  if (requests.length === 0) return undefined;
  const { directory, rootfs } = config;
  if (directory === undefined || !directory.startsWith('/') || rootfs?.startsWith('/') === false)
    throw new IsolatorError('bad_request', 'container_config has no absolute directory or rootfs');
  return {
    holder: { id: holderIdOf(containerId), detail: detailOf(config, chainText(containerId)) },
    // The agent runs what has no user as itself.
    requester: { roles: rolesOf(config), user: config.user ?? 'root' },
    requests,
    surroundings: { directory, rootfs, sandboxDirectory, allowedPaths: settings.allowedPaths },
  };
}

function rolesOf(config: ContainerConfig): string[] {
  return [...new Set((config.resources ?? []).flatMap((resource) => resource.allocation_info?.role ?? []))];
}

function detailOf(config: ContainerConfig, chain: string): string {
  const task = config.task_info?.task_id?.value;
  const executor = config.executor_info?.executor_id?.value;
  const framework = config.executor_info?.framework_id?.value;
  const parts = [
    task === undefined ? undefined : `task ${task}`,
    executor === undefined || executor === task ? undefined : `executor ${executor}`,
    framework === undefined ? undefined : `framework ${framework}`,
    `container ${chain}`,
  ];
  const text = `Mesos ${parts.filter((part) => part !== undefined).join(', ')}`;
  return Array.from(text).slice(0, LONGEST_DETAIL).join('');
}
