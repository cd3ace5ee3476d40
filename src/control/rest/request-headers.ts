import { type TObject, type TString, Type } from 'typebox';
import { FIND_NAME_HEADER, IF_NAME_UNUSED_HEADER, IF_TAG_HEADER, IF_UNLEASED_HEADER } from '../../api/paths.ts';

/** What each request header means, for the OpenAPI document; no header is ever required. */
const MEANINGS: Readonly<Record<string, string>> = {
  [IF_TAG_HEADER]: '412 unless one of these values, separated by commas, is the present configuration tag',
  [IF_NAME_UNUSED_HEADER]: '412 when a dataset that is not deleted has this name, URI-encoded (addition)',
  [IF_UNLEASED_HEADER]: '412 when any of these ids, separated by commas, has a lease (addition)',
  [FIND_NAME_HEADER]: 'the answer has a header with the inspection of this name, URI-encoded (addition)',
};

/** The schema of the headers that a route looks at. */
export function headersSchema(...names: readonly string[]): TObject {
  const properties: Record<string, TString> = {};
  for (const name of names) properties[name] = Type.String({ description: MEANINGS[name] ?? '' });
  return Type.Partial(Type.Object(properties));
}
