import type { JSX } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import type { DatasetInspection } from '../../../src/api/inspection.ts';
import type { NodeInspection } from '../../../src/api/nodes.ts';
import { nameOf } from '../cluster-state.ts';
import { percentText } from '../figures.ts';
import { fillOf, usedShareOf } from './volume-view.ts';

/** With more volumes than this on a node their names would not fit. */
const MOST_NAMED = 24;
const MOVE_MS = 600;

interface Props {
  readonly nodes: ReadonlyMap<string, NodeInspection>;
  readonly datasets: ReadonlyMap<string, DatasetInspection>;
  readonly onOpen: (id: string) => void;
}

/** Every node as a box with the volumes that it holds; a volume that changes its node is seen to travel. */
export function ClusterMap({ nodes, datasets, onOpen }: Props): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  useTravel(place, datasets);
  const held = new Map<string, DatasetInspection[]>();
  for (const dataset of datasets.values()) {
    const where = dataset.holder !== null && nodes.has(dataset.holder) ? dataset.holder : '';
    held.set(where, [...(held.get(where) ?? []), dataset]);
  }
  const boxes = [...nodes.values()].toSorted((a, b) => (a.host < b.host ? -1 : 1));
  const free = held.get('') ?? [];
  return (
    <section aria-labelledby="map-title">
      <h2 id="map-title">Nodes and their volumes</h2>
      <div class="map" ref={place}>
        {boxes.map((node) => (
          <Box
            key={node.uuid}
            title={node.host}
            note={node.declared_dead !== undefined ? 'declared dead' : node.connected ? node.backend : 'away'}
            isWell={node.connected}
            volumes={held.get(node.uuid) ?? []}
            onOpen={onOpen}
          />
        ))}
        {free.length > 0 && <Box title="Nobody" note="held by no node" isWell volumes={free} onOpen={onOpen} />}
        {boxes.length === 0 && <p class="quiet">No node has connected yet. Start “flocker agent” on your machines.</p>}
      </div>
    </section>
  );
}

function Box(props: {
  readonly title: string;
  readonly note: string;
  readonly isWell: boolean;
  readonly volumes: readonly DatasetInspection[];
  readonly onOpen: (id: string) => void;
}): JSX.Element {
  const { title, note, isWell, volumes, onOpen } = props;
  const count = `${volumes.length} ${volumes.length === 1 ? 'volume' : 'volumes'}`;
  return (
    <article class={isWell ? 'box' : 'box away'} aria-label={`${title}, ${note}, ${count}`}>
      <h3>
        {title} <small>{note}</small>
      </h3>
      <p class="quiet">{count}</p>
      <div class={volumes.length > MOST_NAMED ? 'chips small' : 'chips'}>
        {volumes.map((volume) => (
          <Chip key={volume.configuration.dataset_id} volume={volume} onOpen={onOpen} />
        ))}
      </div>
    </article>
  );
}

function Chip({
  volume,
  onOpen,
}: {
  readonly volume: DatasetInspection;
  readonly onOpen: (id: string) => void;
}): JSX.Element {
  const { configuration, status } = volume;
  const id = configuration.dataset_id;
  const name = nameOf(configuration.metadata, id);
  const share = usedShareOf(volume);
  const label = `${name}, ${status}${share === null ? '' : `, ${percentText(share)} full`}`;
  return (
    <button
      type="button"
      class={`chip ${status}`}
      data-volume={id}
      title={label}
      aria-label={label}
      onClick={() => onOpen(id)}
    >
      <span>{name}</span>
      {share !== null && <progress max={1} value={share} class={fillOf(share)} aria-hidden="true" />}
    </button>
  );
}

/** Lets chips that are now elsewhere slide from where they were. */
function useTravel(place: { readonly current: HTMLDivElement | null }, datasets: unknown): void {
  const were = useRef(new Map<string, { readonly box: Element | null; readonly at: DOMRect }>());
  useLayoutEffect(() => {
    const isStill = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
    const now = new Map<string, { readonly box: Element | null; readonly at: DOMRect }>();
    for (const chip of place.current?.querySelectorAll<HTMLElement>('[data-volume]') ?? []) {
      const id = chip.dataset['volume'] ?? '';
      const box = chip.closest('article');
      const at = chip.getBoundingClientRect();
      now.set(id, { box, at });
      const before = were.current.get(id);
      if (before === undefined || before.box === box || isStill) continue;
      const from = `translate(${before.at.x - at.x}px, ${before.at.y - at.y}px)`;
      chip.animate([{ transform: from }, { transform: 'none' }], { duration: MOVE_MS, easing: 'ease-in-out' });
    }
    were.current = now;
  }, [datasets]);
}
