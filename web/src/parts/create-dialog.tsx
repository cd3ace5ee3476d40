import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { NodeInspection } from '../../../src/api/nodes.ts';
import { createVolume, RequestFailed } from '../api.ts';
import { parseSize } from '../figures.ts';
import { Dialog, Failure, useDeed } from './dialog.tsx';

const PROFILE_KEY = 'clusterhq:flocker:profile';

/** Asks what a new volume is to be like. */
export function CreateDialog(props: {
  readonly nodes: ReadonlyMap<string, NodeInspection>;
  readonly onClose: () => void;
}): JSX.Element {
  const { nodes, onClose } = props;
  const connected = [...nodes.values()].filter((node) => node.connected);
  const [name, setName] = useState('');
  const [size, setSize] = useState('1 GiB');
  const [node, setNode] = useState(connected[0]?.uuid ?? '');
  const [profile, setProfile] = useState('');
  const { isBusy, failure, perform } = useDeed();
  const profiles = nodes.get(node)?.profiles ?? [];
  const create = async (): Promise<void> => {
    const sizeBytes = parseSize(size);
    if (sizeBytes === undefined) throw new RequestFailed(`“${size}” is no size: write 10 GiB, or 500 MiB.`);
    await createVolume({
      primary: node,
      maximum_size: sizeBytes,
      metadata: { name, FLOCKER_ID: name, ...(profile === '' ? {} : { [PROFILE_KEY]: profile }) },
    });
  };
  return (
    <Dialog title="Create a volume" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          perform(create, onClose);
        }}
      >
        <label>
          Name
          <input required maxLength={256} value={name} onInput={({ currentTarget }) => setName(currentTarget.value)} />
        </label>
        <label>
          Size
          <input required value={size} onInput={({ currentTarget }) => setSize(currentTarget.value)} />
        </label>
        <label>
          Node
          <select required value={node} onChange={({ currentTarget }) => setNode(currentTarget.value)}>
            {connected.map(({ uuid, host }) => (
              <option key={uuid} value={uuid}>
                {host}
              </option>
            ))}
          </select>
        </label>
        <label>
          Profile
          <select value={profile} onChange={({ currentTarget }) => setProfile(currentTarget.value)}>
            <option value="">default</option>
            {profiles.map((one) => (
              <option key={one} value={one}>
                {one}
              </option>
            ))}
          </select>
        </label>
        <Failure text={failure} />
        <button type="submit" class="primary" disabled={isBusy}>
          Create
        </button>
      </form>
    </Dialog>
  );
}
