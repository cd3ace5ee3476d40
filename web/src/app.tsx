import type { JSX } from 'preact';
import { useCallback, useEffect, useMemo, useReducer, useState } from 'preact/hooks';
import { after, NOTHING } from './cluster-state.ts';
import { follow } from './live.ts';
import { ClusterMap } from './parts/cluster-map.tsx';
import { CreateDialog } from './parts/create-dialog.tsx';
import { Happenings } from './parts/happenings.tsx';
import { History } from './parts/history.tsx';
import { Pools } from './parts/pools.tsx';
import { Summary } from './parts/summary.tsx';
import { VolumeDialog } from './parts/volume-dialog.tsx';
import { VolumeTable } from './parts/volume-table.tsx';
import { verdictOf } from './verdict.ts';

/** The whole page. */
export function App(): JSX.Element {
  const [state, dispatch] = useReducer(after, NOTHING);
  const [opened, setOpened] = useState<string | undefined>();
  const [creating, setCreating] = useState(false);
  useEffect(() => follow(dispatch), []);
  const verdict = useMemo(() => verdictOf(state), [state]);
  const open = useCallback((id: string) => setOpened(id), []);
  const close = useCallback(() => setOpened(undefined), []);
  const volume = opened === undefined ? undefined : state.datasets.get(opened);

  return (
    <>
      <header>
        <h1>Flocker</h1>
        <Summary connection={state.connection} verdict={verdict} />
      </header>
      {state.connection === 'loading' ? (
        <main>
          <p class="quiet">Reading the cluster…</p>
        </main>
      ) : (
        <main>
          {verdict.troubles.length > 0 && (
            <section aria-labelledby="troubles-title" class="troubles">
              <h2 id="troubles-title">What needs attention</h2>
              <ul>
                {verdict.troubles.slice(0, 20).map(({ key, text }) => (
                  <li key={key}>{text}</li>
                ))}
              </ul>
            </section>
          )}
          <ClusterMap nodes={state.nodes} datasets={state.datasets} onOpen={open} />
          <Pools pools={state.pools} nodes={state.nodes} />
          <VolumeTable datasets={state.datasets} nodes={state.nodes} onOpen={open} onCreate={() => setCreating(true)} />
          <History samples={state.samples} />
          <Happenings happenings={state.happenings} />
        </main>
      )}
      {creating && <CreateDialog nodes={state.nodes} onClose={() => setCreating(false)} />}
      {volume !== undefined && (
        <VolumeDialog volume={volume} nodes={state.nodes} snapshots={state.snapshots} onClose={close} />
      )}
    </>
  );
}
