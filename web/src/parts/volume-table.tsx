import type { JSX } from 'preact';
import { memo } from 'preact/compat';
import { useMemo, useState } from 'preact/hooks';
import type { DatasetInspection } from '../../../src/api/inspection.ts';
import type { NodeInspection } from '../../../src/api/nodes.ts';
import { nameOf } from '../cluster-state.ts';
import { bytesText, percentText } from '../figures.ts';
import { sizeOf, usedShareOf } from './volume-view.ts';

interface Props {
  readonly datasets: ReadonlyMap<string, DatasetInspection>;
  readonly nodes: ReadonlyMap<string, NodeInspection>;
  readonly onOpen: (id: string) => void;
  readonly onCreate: () => void;
}

/** Every volume in a line, found by any part of its name, id, node or status. */
export function VolumeTable({ datasets, nodes, onOpen, onCreate }: Props): JSX.Element {
  const [sought, setSought] = useState('');
  const lines = useMemo(() => {
    const word = sought.trim().toLowerCase();
    const all = [...datasets.values()].map((volume) => ({ volume, text: searchText(volume, nodes) }));
    return all
      .filter(({ text }) => text.includes(word))
      .map(({ volume }) => volume)
      .toSorted((a, b) => (titleOf(a) < titleOf(b) ? -1 : 1));
  }, [datasets, nodes, sought]);
  return (
    <section aria-labelledby="volumes-title">
      <div class="bar">
        <h2 id="volumes-title">Volumes</h2>
        <label class="search">
          <span class="hidden">Find volumes</span>
          <input
            type="search"
            placeholder="Find…"
            value={sought}
            onInput={({ currentTarget }) => setSought(currentTarget.value)}
          />
        </label>
        <button type="button" class="primary" onClick={onCreate}>
          Create volume
        </button>
      </div>
      {lines.length === 0 ? (
        <p class="quiet">{datasets.size === 0 ? 'There are no volumes yet.' : 'No volume fits.'}</p>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label="List of volumes">
          <table>
            <thead>
              <tr>
                <th scope="col">Volume</th>
                <th scope="col">Status</th>
                <th scope="col">Node</th>
                <th scope="col" class="number">
                  Size
                </th>
                <th scope="col" class="number">
                  Full
                </th>
                <th scope="col">Lease</th>
              </tr>
            </thead>
            <tbody>
              {lines.map((volume) => (
                <Line
                  key={volume.configuration.dataset_id}
                  volume={volume}
                  host={hostOf(volume.holder ?? volume.configuration.primary, nodes)}
                  lease={volume.lease === null ? '' : hostOf(volume.lease.node_uuid, nodes)}
                  onOpen={onOpen}
                />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

/** Drawn again only when its own volume changes: there may be hundreds. */
const Line = memo(function Line(props: {
  readonly volume: DatasetInspection;
  readonly host: string;
  readonly lease: string;
  readonly onOpen: (id: string) => void;
}): JSX.Element {
  const { volume, host, lease, onOpen } = props;
  const { configuration, status, problem } = volume;
  return (
    <tr>
      <th scope="row">
        <button type="button" class="link" onClick={() => onOpen(configuration.dataset_id)}>
          {titleOf(volume)}
        </button>
      </th>
      <td>
        <span class={`status ${status}`}>{status}</span>
        {problem !== null && <small class={problem.needs_action ? 'why bad' : 'why'}>{problem.message}</small>}
      </td>
      <td>{host}</td>
      <td class="number">{bytesText(sizeOf(volume))}</td>
      <td class="number">{percentText(usedShareOf(volume))}</td>
      <td>{lease}</td>
    </tr>
  );
});

function titleOf({ configuration }: DatasetInspection): string {
  return nameOf(configuration.metadata, configuration.dataset_id);
}

function hostOf(uuid: string, nodes: ReadonlyMap<string, NodeInspection>): string {
  return nodes.get(uuid)?.host ?? uuid.slice(0, 8);
}

function searchText(volume: DatasetInspection, nodes: ReadonlyMap<string, NodeInspection>): string {
  const { configuration, status, holder } = volume;
  const host = hostOf(holder ?? configuration.primary, nodes);
  return `${titleOf(volume)} ${configuration.dataset_id} ${status} ${host}`.toLowerCase();
}
