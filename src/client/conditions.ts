import { IF_NAME_UNUSED_HEADER, IF_TAG_HEADER, IF_UNLEASED_HEADER } from '../api/paths.ts';
import { ClientError, type Condition } from './flocker-client.ts';

/** The request headers that say `condition`. Throws `bad_request` for one that the request cannot carry. */
export function conditionHeaders(
  condition: Condition,
  request: 'create' | 'change' | 'delete',
): Record<string, string> {
  if (condition.kind === 'none') return {};
  if (condition.kind === 'tag') return { [IF_TAG_HEADER]: condition.tag };
  if (condition.kind === 'unleased') {
    if (request === 'delete') return { [IF_UNLEASED_HEADER]: condition.ids.join(',') };
    throw new ClientError('bad_request', 'Only the deletion of a dataset may depend on leases');
  }
  if (request !== 'create') {
    throw new ClientError('bad_request', 'Only the creation of a dataset may depend on an unused name');
  }
  return { [IF_NAME_UNUSED_HEADER]: encodedName(condition.name) };
}

/** A name as headers carry it. Throws `bad_request` for text that is not valid Unicode. */
export function encodedName(name: string): string {
  try {
    return encodeURIComponent(name);
  } catch (error) {
    throw new ClientError('bad_request', `The name ${JSON.stringify(name)} is not valid Unicode`, { cause: error });
  }
}
