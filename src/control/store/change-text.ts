import type { StoreChange } from './store.ts';

/** A change as it goes to disk: the value as JSON text, or undefined when the entry is removed. */
export interface ChangeText {
  readonly key: string;
  readonly text: string | undefined;
}

const KEY = /^[\x21-\x7e]{1,512}$/;

/**
 * The text of a change. Throws TypeError for a key that is no short printable ASCII and for a value that JSON cannot
 * hold: either would read back as something else.
 */
export function changeText(change: StoreChange): ChangeText {
  const { key } = change;
  if (!KEY.test(key))
    throw new TypeError(`${JSON.stringify(key)} is no store key: 1 to 512 printable ASCII characters`);
  if (change.kind === 'remove') return { key, text: undefined };
  const text: string | undefined = JSON.stringify(change.value);
  if (text === undefined) throw new TypeError(`the value of store key ${key} is not JSON`);
  return { key, text };
}
