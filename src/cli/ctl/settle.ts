import type { DatasetConfiguration } from '../../api/datasets.ts';
import type { MountedDataset } from '../../client/flocker-client.ts';
import { DeadlineExceeded, withDeadline } from '../../kit/deadline.ts';
import { nameOf } from '../../model/dataset.ts';
import { CtlError } from './ctl-error.ts';
import { type FoundNode, idOf } from './lookup.ts';
import { Progress } from './progress.ts';
import type { Session } from './session.ts';
import { printable } from './text-width.ts';

/** A deadline that passed says nothing of why; the answer to this must not take long either. */
const REASON_TIMEOUT_MS = 3_000;

/** What waiting for a change came to: the line for people, the fields for `--json`. */
export interface Settled {
  readonly text: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Waits until the dataset is mounted on `node`. Fails with `timed_out` and the last problem that was reported. */
export async function settleMounted(
  session: Session,
  configuration: DatasetConfiguration,
  node: FoundNode,
): Promise<Settled> {
  const { client, signal } = session;
  let last: string | undefined;
  const goal = `${described(configuration)} mounted on ${node.host} (node ${node.id})`;
  const mounted = await waiting(
    session,
    goal,
    (progress): Promise<MountedDataset> =>
      client.waitUntilMounted(
        idOf(configuration),
        node.id,
        (message) => {
          last = message;
          progress.problem(message);
        },
        signal,
      ),
    () => Promise.resolve(last),
  );
  return {
    text: `mounted on ${printable(node.host)} at ${printable(mounted.path)}`,
    fields: { mounted: { node_uuid: node.id, path: mounted.path }, real_size: mounted.sizeBytes ?? null },
  };
}

/** Waits until the volume is destroyed. Fails with `timed_out` and what the server says is in the way. */
export async function settleGone(session: Session, configuration: DatasetConfiguration): Promise<Settled> {
  const { client, signal } = session;
  await waiting(
    session,
    `${described(configuration)} destroyed`,
    () => client.waitUntilGone(idOf(configuration), signal),
    () => problemOf(session, configuration),
  );
  return { text: `destroyed ${described(configuration)}`, fields: { destroyed: true } };
}

async function waiting<T>(
  session: Session,
  goal: string,
  wait: (progress: Progress) => Promise<T>,
  reason: () => Promise<string | undefined>,
): Promise<T> {
  const { environment, timeoutSeconds } = session;
  const progress = new Progress(environment.stderr, environment.clock, `waiting to see ${goal}`);
  try {
    return await wait(progress);
  } catch (error) {
    if (!(error instanceof DeadlineExceeded)) throw error;
    const why = (await reason()) ?? 'the control service gave no reason';
    throw new CtlError(
      'timed_out',
      `did not see ${goal} within ${timeoutSeconds} s: ${why.replace(/\.$/, '')}. The change is saved and goes on; see "flockerctl list".`,
      { cause: error },
    );
  } finally {
    progress.stop();
  }
}

async function problemOf(session: Session, configuration: DatasetConfiguration): Promise<string | undefined> {
  const { client, environment } = session;
  try {
    return await withDeadline(environment.clock, REASON_TIMEOUT_MS, 'asking why', undefined, async (signal) => {
      const inspections = (await client.inspectDatasets(signal)) ?? [];
      const found = inspections.find((one) => one.configuration.dataset_id === configuration.dataset_id);
      return found?.problem?.message;
    });
  } catch {
    return undefined;
  }
}

function described({ dataset_id: id, metadata }: DatasetConfiguration): string {
  const name = nameOf(metadata);
  return name === undefined ? `dataset ${id}` : `volume ${printable(name)} (dataset ${id})`;
}
