import type { JSX } from 'preact';
import type { ClusterState } from '../cluster-state.ts';
import type { Verdict } from '../verdict.ts';

const SIGNS = { well: '✓', busy: '…', bad: '!' } as const;

/** The answer to "is everything well", and whether the page is live. */
export function Summary(props: {
  readonly connection: ClusterState['connection'];
  readonly verdict: Verdict;
}): JSX.Element {
  const { connection, verdict } = props;
  if (connection === 'loading') return <p role="status">Connecting…</p>;
  if (connection === 'away') {
    return (
      <p role="status" class="verdict bad">
        <span aria-hidden="true">!</span> The control service cannot be reached. What is shown is old. Volumes that are
        mounted stay mounted.
      </p>
    );
  }
  return (
    <p role="status" class={`verdict ${verdict.level}`}>
      <span aria-hidden="true">{SIGNS[verdict.level]}</span> {verdict.text}
    </p>
  );
}
