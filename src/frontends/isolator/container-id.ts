import { createHash } from 'node:crypto';
import { IsolatorError } from './isolator-error.ts';

/** A container as Mesos names it: nested ones with their parents. */
export interface ContainerId {
  readonly value: string;
  readonly parent?: ContainerId;
}

/** Holders of containers have ids that begin so. */
export const HOLDER_PREFIX = 'mesos/';

const DEEPEST = 64;
const LONGEST_HOLDER_ID = 256;

/** Reads a container id from JSON. Fails with `bad_request`. */
export function parseContainerId(json: unknown): ContainerId {
  return parse(json, DEEPEST);
}

function parse(json: unknown, depth: number): ContainerId {
  if (depth > 0 && typeof json === 'object' && json !== null && 'value' in json) {
    const { value } = json;
    const parent = 'parent' in json ? json.parent : undefined;
    if (typeof value === 'string' && value !== '' && value.length <= 1024) {
      return parent === undefined ? { value } : { value, parent: parse(parent, depth - 1) };
    }
  }
  throw new IsolatorError('bad_request', 'container_id is no container id');
}

/** The chain from the outermost container inwards, as Mesos writes it: `root.child`. */
export function chainText(id: ContainerId): string {
  return chain(id).join('.');
}

/** The same for the same chain and for no other, whatever is in the ids; legible for all that Mesos makes itself. */
export function holderIdOf(id: ContainerId): string {
  const links = chain(id);
  const legible = `${HOLDER_PREFIX}${links.join('.')}`;
  if (links.every((link) => /^[\w-]+$/.test(link)) && legible.length <= LONGEST_HOLDER_ID) return legible;
  return `${HOLDER_PREFIX}~${createHash('sha256').update(JSON.stringify(links)).digest('hex')}`;
}

function chain(id: ContainerId): string[] {
  const links: string[] = [];
  for (let one: ContainerId | undefined = id; one !== undefined; one = one.parent) links.unshift(one.value);
  return links;
}
