import type { ClusterChange } from '../../client/storage-client.ts';
import { nameOf } from '../../model/dataset.ts';
import { bytesText } from './figures.ts';
import { paintFor } from './paint.ts';
import type { Session } from './session.ts';
import { snapshotLine } from './snapshot-view.ts';
import { printable } from './text-width.ts';

/** `events`: every change of the cluster as it happens, until it is interrupted or its time is over. */
export async function followEvents(session: Session): Promise<void> {
  const { client, signal, environment, json } = session;
  const { stdout, stderr, clock } = environment;
  const paint = paintFor(environment);
  await client.followChanges(
    (change) => {
      const time = new Date(clock.wallMs()).toISOString();
      if (json) stdout.write(`${JSON.stringify({ time, kind: change.kind, value: change.value })}\n`);
      else stdout.write(`${paint('dim', time)}  ${describe(change)}\n`);
    },
    (problem) => stderr.write(`${printable(problem)}; trying again\n`),
    signal,
  );
}

function describe(change: ClusterChange): string {
  switch (change.kind) {
    case 'dataset': {
      const { configuration, status, state, problem } = change.value;
      const name = nameOf(configuration.metadata);
      const where = state?.primary === undefined ? '' : ` on ${state.primary}`;
      const why = problem === null ? '' : `: ${problem.message}`;
      return printable(`volume ${name ?? '-'} (${configuration.dataset_id}) ${status}${where}${why}`);
    }
    case 'node': {
      const { uuid, host, connected } = change.value;
      return printable(`node ${uuid} (${host}) ${connected ? 'connected' : 'away'}`);
    }
    case 'snapshot':
      return printable(`snapshot of ${change.value.dataset_id}: ${snapshotLine(change.value)}`);
    case 'storage': {
      const { pool, figures } = change.value;
      return printable(`pool ${pool}: ${bytesText(figures.used)} used, ${bytesText(figures.available)} available`);
    }
    case 'reset':
      return 'the control service is back; changes meanwhile were not seen';
  }
}
