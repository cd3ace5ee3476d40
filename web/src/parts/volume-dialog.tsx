import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { DatasetInspection } from '../../../src/api/inspection.ts';
import type { NodeInspection } from '../../../src/api/nodes.ts';
import type { SnapshotView } from '../../../src/api/snapshots.ts';
import { growVolume, moveVolume, RequestFailed, releaseLease, takeSnapshot } from '../api.ts';
import { nameOf } from '../cluster-state.ts';
import { bytesText, parseSize } from '../figures.ts';
import { DeleteVolume } from './delete-volume.tsx';
import { Dialog, Failure, useDeed } from './dialog.tsx';
import { SnapshotList } from './snapshot-list.tsx';
import { sizeOf } from './volume-view.ts';

interface Props {
  readonly volume: DatasetInspection;
  readonly nodes: ReadonlyMap<string, NodeInspection>;
  readonly snapshots: ReadonlyMap<string, SnapshotView>;
  readonly onClose: () => void;
}

/** All that is known of a volume, and all that can be done with it. */
export function VolumeDialog({ volume, nodes, snapshots, onClose }: Props): JSX.Element {
  const { configuration, status, holder, lease, problem, usage, state } = volume;
  const id = configuration.dataset_id;
  const name = nameOf(configuration.metadata, id);
  const hostOf = (uuid: string): string => nodes.get(uuid)?.host ?? uuid;
  const { isBusy, failure, perform } = useDeed();
  const [target, setTarget] = useState('');
  const [size, setSize] = useState('');
  const others = [...nodes.values()].filter(({ connected, uuid }) => connected && uuid !== configuration.primary);
  const taken = [...snapshots.values()].filter((snapshot) => snapshot.dataset_id === id);
  const grow = async (): Promise<void> => {
    const sizeBytes = parseSize(size);
    if (sizeBytes === undefined) throw new RequestFailed(`“${size}” is no size: write 10 GiB, or 500 MiB.`);
    await growVolume(id, sizeBytes);
  };
  return (
    <Dialog title={`Volume ${name}`} onClose={onClose}>
      <dl class="facts">
        <Fact name="Status" text={status} />
        {problem !== null && <Fact name="Why" text={problem.message} />}
        <Fact name="Belongs on" text={hostOf(configuration.primary)} />
        <Fact name="Held by" text={holder === null ? 'no node' : hostOf(holder)} />
        {state?.path !== undefined && <Fact name="Mounted at" text={state.path} />}
        <Fact name="Size" text={bytesText(sizeOf(volume))} />
        {usage !== undefined && (
          <Fact name="Used" text={`${bytesText(usage.used)}, ${bytesText(usage.available)} free`} />
        )}
        <Fact name="Id" text={id} />
        <Fact name="Lease" text={lease === null ? 'none' : leaseText(lease, hostOf)} />
      </dl>
      <Failure text={failure} />
      <form
        class="line"
        onSubmit={(event) => {
          event.preventDefault();
          perform(() => moveVolume(id, target));
        }}
      >
        <label>
          Move {name} to
          <select required value={target} onChange={({ currentTarget }) => setTarget(currentTarget.value)}>
            <option value="">choose a node</option>
            {others.map(({ uuid, host }) => (
              <option key={uuid} value={uuid}>
                {host}
              </option>
            ))}
          </select>
        </label>
        <button type="submit" disabled={isBusy || target === ''}>
          Move
        </button>
      </form>
      <form
        class="line"
        onSubmit={(event) => {
          event.preventDefault();
          perform(grow, () => setSize(''));
        }}
      >
        <label>
          Make {name} larger, to
          <input
            required
            placeholder="20 GiB"
            value={size}
            onInput={({ currentTarget }) => setSize(currentTarget.value)}
          />
        </label>
        <button type="submit" disabled={isBusy}>
          Grow
        </button>
      </form>
      {lease !== null && (
        <p>
          <button type="button" disabled={isBusy} onClick={() => perform(() => releaseLease(id))}>
            Release the lease on {name}
          </button>{' '}
          <small>A task that still uses the volume takes it again.</small>
        </p>
      )}
      <SnapshotList
        name={name}
        snapshots={taken}
        isBusy={isBusy}
        onTake={(label) =>
          perform(() => takeSnapshot({ dataset_id: id, metadata: label === '' ? {} : { name: label } }))
        }
        perform={perform}
      />
      <DeleteVolume id={id} name={name} onDeleted={onClose} />
    </Dialog>
  );
}

function leaseText(lease: NonNullable<DatasetInspection['lease']>, hostOf: (uuid: string) => string): string {
  const end = lease.expires === null ? 'does not expire' : `expires in ${Math.ceil(lease.expires)} s unless renewed`;
  return `${hostOf(lease.node_uuid)}, ${end}`;
}

function Fact({ name, text }: { readonly name: string; readonly text: string }): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{text}</dd>
    </div>
  );
}
