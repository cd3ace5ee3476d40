import type { DatasetConfiguration } from '../../api/datasets.ts';
import { ClientError, type Condition, type NewDataset } from '../../client/flocker-client.ts';
import type { DatasetId, SnapshotId } from '../../kit/ids.ts';
import { nameOf } from '../../model/dataset.ts';
import { CtlError } from './ctl-error.ts';
import { finishChange } from './finish-change.ts';
import { findNode } from './lookup.ts';
import type { Session } from './session.ts';
import { settleMounted } from './settle.ts';
import { findSnapshot, snapshotIdOf } from './snapshot-view.ts';

export interface CreateOptions {
  readonly node: string;
  /** Bytes. */
  readonly size?: number;
  readonly metadata?: Readonly<Record<string, string>>;
  /** Whose data it begins with. */
  readonly snapshot?: string;
  /** A UUID for it, or that of a volume that exists already. */
  readonly datasetId?: DatasetId;
  readonly wait?: true;
}

/** `create`: a dataset whose name, if it has one, no other volume has. */
export async function createDataset(session: Session, options: CreateOptions): Promise<void> {
  const { client, signal } = session;
  const node = findNode(options.node, await client.listNodes(signal));
  const size = options.size === undefined ? {} : { maximumSizeBytes: options.size };
  const source =
    options.snapshot === undefined ? {} : { sourceSnapshot: await chosenSnapshot(session, options.snapshot) };
  const given = options.datasetId === undefined ? {} : { datasetId: options.datasetId };
  const wish: NewDataset = { primary: node.id, metadata: options.metadata ?? {}, ...given, ...size, ...source };
  const configuration = await createUnderUnusedName(session, wish);
  const id = `dataset ${configuration.dataset_id}`;
  await finishChange(session, {
    configuration,
    text: `created dataset in configuration, manually poll state with 'flockerctl list' to see it show up.\n${id}`,
    waitingText: `created dataset in configuration.\n${id}`,
    settle: options.wait === true ? () => settleMounted(session, configuration, node) : undefined,
  });
}

async function chosenSnapshot({ client, signal }: Session, text: string): Promise<SnapshotId> {
  return snapshotIdOf(findSnapshot(text, await client.listSnapshots({}, signal)));
}

async function createUnderUnusedName({ client, signal }: Session, wish: NewDataset): Promise<DatasetConfiguration> {
  const name = nameOf(wish.metadata);
  for (;;) {
    let condition: Condition = { kind: 'none' };
    if (name !== undefined) {
      const { datasets, ifUnchanged } = await client.findByName(name, signal);
      const [taken] = datasets;
      if (taken !== undefined) {
        throw new CtlError(
          'name_taken',
          `there is a volume named ${name}, dataset ${taken.dataset_id}: tasks could not tell the two apart. Nothing was created.`,
        );
      }
      condition = ifUnchanged;
    }
    try {
      return await client.createDataset(wish, condition, signal);
    } catch (error) {
      // On a foreign server any change, of any dataset, changes the tag: look again.
      if (!(error instanceof ClientError && error.code === 'condition_failed')) throw error;
    }
  }
}
