import { formatSize } from '../../kit/sizes.ts';
import { DEFAULT_SIZE_BYTES } from '../../model/dataset.ts';
import { IsolatorError } from './isolator-error.ts';
import type { VolumeRequest } from './volume-request.ts';

/** What an operator lets some tasks do with some volumes. Patterns may have `*`; one that is missing fits everything. */
export interface OperatorRule {
  readonly name?: string;
  readonly role?: string;
  readonly user?: string;
  readonly volumes?: readonly string[];
  readonly create: boolean;
  readonly delete: boolean;
  /** Profiles a volume may be made with; any, and none, when missing. */
  readonly profiles?: readonly string[];
  readonly largestSizeBytes?: number;
}

/** What an operator decides in `agent.yml`. */
export interface OperatorSettings {
  /** Undefined: everything is allowed. */
  readonly rules: readonly OperatorRule[] | undefined;
  /** Paths of the system, and all below them, that volumes may cover. */
  readonly allowedPaths: readonly string[];
  readonly killTasksOfLostVolumes: boolean;
}

/** Who starts a container, as the Mesos agent says. */
export interface Requester {
  /** Roles its resources are allocated to; none for a standalone container. */
  readonly roles: readonly string[];
  readonly user: string;
}

/** What the rules make of a request that they do not refuse. */
export interface Verdict {
  /** Why the volume must not be made if it is missing; undefined when it may. */
  readonly whyNotCreate: string | undefined;
}

/**
 * The first rule that fits the requester and the volume's name decides; without any rules everything is allowed. Fails
 * with `not_allowed`, naming the rule.
 */
export function judge(
  rules: readonly OperatorRule[] | undefined,
  requester: Requester,
  request: VolumeRequest,
): Verdict {
  if (rules === undefined) return { whyNotCreate: undefined };
  const who = `role ${requester.roles.join(', ') || '(none)'} and user ${requester.user}`;
  const index = rules.findIndex((rule) => fits(rule, requester, request.name));
  const rule = rules[index];
  if (rule === undefined)
    throw new IsolatorError(
      'not_allowed',
      `volume ${request.name}: none of the ${rules.length} rules in this node's agent.yml lets ${who} use it; ask the operator`,
    );
  const label = `rule ${index + 1}${rule.name === undefined ? '' : ` (${rule.name})`} in this node's agent.yml`;
  if (request.onExit === 'delete' && !rule.delete)
    throw new IsolatorError(
      'not_allowed',
      `volume ${request.name}: ${label} does not let ${who} delete volumes; remove FLOCKER_ON_EXIT=delete`,
    );
  return { whyNotCreate: whyNotCreate(rule, label, who, request) };
}

function whyNotCreate(rule: OperatorRule, label: string, who: string, request: VolumeRequest): string | undefined {
  const { profiles, largestSizeBytes } = rule;
  if (!rule.create) return `${label} does not let ${who} make volumes`;
  if (profiles !== undefined && (request.profile === undefined || !profiles.includes(request.profile))) {
    const asked = request.profile === undefined ? 'no profile' : `profile ${request.profile}`;
    return `${label} does not let ${who} make volumes with ${asked}; allowed: ${profiles.join(', ') || 'none'}`;
  }
  const sizeBytes = request.sizeBytes ?? DEFAULT_SIZE_BYTES;
  if (largestSizeBytes !== undefined && sizeBytes > largestSizeBytes) {
    const asked = `${formatSize(sizeBytes)}${request.sizeBytes === undefined ? ' (the default size)' : ''}`;
    return `${label} does not let ${who} make volumes of ${asked}; the largest is ${formatSize(largestSizeBytes)}`;
  }
  return undefined;
}

function fits(rule: OperatorRule, { roles, user }: Requester, volume: string): boolean {
  // A container without a role must not pass for one of a role.
  const all = roles.length === 0 ? [''] : roles;
  return (
    all.every((role) => matches(rule.role, role)) &&
    matches(rule.user, user) &&
    (rule.volumes === undefined || rule.volumes.some((pattern) => matches(pattern, volume)))
  );
}

/** Linear in the text for every pattern: a task chooses the text. */
function matches(pattern: string | undefined, text: string): boolean {
  if (pattern === undefined) return true;
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return text === first;
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length) return false;
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= text.length - last.length;
}
