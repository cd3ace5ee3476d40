import type { MessageInitShape } from '@bufbuild/protobuf';
import { parseDatasetId } from '../../kit/ids.ts';
import type { VolumeContentSource, VolumeContentSourceSchema } from './generated/csi_pb.ts';

/** What a volume begins with. */
export interface ContentSource {
  readonly kind: 'snapshot' | 'volume';
  readonly id: string;
}

/** Metadata key of a volume that was made from something, so that a repeated request is known for the same. */
const SOURCE_KEY = 'flocker:csi-source';

export function sourceMetadata(source: ContentSource | undefined): Record<string, string> {
  return source === undefined ? {} : { [SOURCE_KEY]: `${source.kind}/${source.id}` };
}

export function sourceIn(metadata: Readonly<Record<string, string>>): ContentSource | undefined {
  const [, kind, id] = /^(snapshot|volume)\/(.+)$/.exec(metadata[SOURCE_KEY] ?? '') ?? [];
  return (kind === 'snapshot' || kind === 'volume') && id !== undefined ? { kind, id } : undefined;
}

export function sameSource(one: ContentSource | undefined, other: ContentSource | undefined): boolean {
  return one?.kind === other?.kind && one?.id === other?.id;
}

export function sourceOf(message: VolumeContentSource | undefined): ContentSource | undefined {
  if (message?.type.case === 'snapshot') return { kind: 'snapshot', id: plain(message.type.value.snapshotId) };
  if (message?.type.case === 'volume') return { kind: 'volume', id: plain(message.type.value.volumeId) };
  return undefined;
}

export function sourceMessage({ kind, id }: ContentSource): MessageInitShape<typeof VolumeContentSourceSchema> {
  return kind === 'snapshot'
    ? { type: { case: 'snapshot', value: { snapshotId: id } } }
    : { type: { case: 'volume', value: { volumeId: id } } };
}

/** Ids in lower case; a name stays as it is. */
function plain(id: string): string {
  return parseDatasetId(id) ?? id;
}
