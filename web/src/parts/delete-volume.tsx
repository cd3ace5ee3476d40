import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { deleteVolume } from '../api.ts';
import { Failure, useDeed } from './dialog.tsx';

/** Deletes a volume once its name was typed. */
export function DeleteVolume(props: {
  readonly id: string;
  readonly name: string;
  readonly onDeleted: () => void;
}): JSX.Element {
  const { id, name, onDeleted } = props;
  const [typed, setTyped] = useState('');
  const { isBusy, failure, perform } = useDeed();
  return (
    <form
      class="line dangerous"
      onSubmit={(event) => {
        event.preventDefault();
        if (typed === name) perform(() => deleteVolume(id), onDeleted);
      }}
    >
      <label>
        To delete the volume and all its data, type its name: {name}
        <input autoComplete="off" value={typed} onInput={({ currentTarget }) => setTyped(currentTarget.value)} />
      </label>
      <button type="submit" class="danger" disabled={isBusy || typed !== name}>
        Delete {name}
      </button>
      <Failure text={failure} />
    </form>
  );
}
