import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { SnapshotView } from '../../../src/api/snapshots.ts';
import { deleteSnapshot } from '../api.ts';
import { nameOf } from '../cluster-state.ts';
import { bytesText } from '../figures.ts';

/** The snapshots of a volume. One is deleted with a second click, on a button that names it. */
export function SnapshotList(props: {
  readonly name: string;
  readonly snapshots: readonly SnapshotView[];
  readonly isBusy: boolean;
  readonly onTake: (label: string) => void;
  readonly perform: (work: () => Promise<void>) => void;
}): JSX.Element {
  const { name, snapshots, isBusy, onTake, perform } = props;
  const [label, setLabel] = useState('');
  const [doomed, setDoomed] = useState<string | undefined>();
  return (
    <section aria-label={`Snapshots of ${name}`}>
      <h3>Snapshots</h3>
      <ul class="snapshots">
        {snapshots.map((snapshot) => {
          const { snapshot_id: id, status, size, taken, problem } = snapshot;
          const title = nameOf(snapshot.metadata, id);
          return (
            <li key={id}>
              <strong>{title}</strong> {status} {taken === null ? '' : new Date(taken).toLocaleString()}{' '}
              {bytesText(size)} {problem !== null && <small>{problem.message}</small>}
              {doomed === id ? (
                <button
                  type="button"
                  class="danger"
                  disabled={isBusy}
                  onClick={() => perform(() => deleteSnapshot(id))}
                >
                  Delete snapshot {title} of {name} for good
                </button>
              ) : (
                <button type="button" disabled={isBusy} onClick={() => setDoomed(id)}>
                  Delete snapshot {title}
                </button>
              )}
            </li>
          );
        })}
      </ul>
      <form
        class="line"
        onSubmit={(event) => {
          event.preventDefault();
          onTake(label);
          setLabel('');
        }}
      >
        <label>
          Name of a new snapshot
          <input maxLength={256} value={label} onInput={({ currentTarget }) => setLabel(currentTarget.value)} />
        </label>
        <button type="submit" disabled={isBusy}>
          Take a snapshot of {name}
        </button>
      </form>
    </section>
  );
}
