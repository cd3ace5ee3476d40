import { IsolatorError } from './isolator-error.ts';
import type { Variable } from './isolator-schemas.ts';

/** Values of one slot by the variable's name without its suffix. */
export type Slot = ReadonlyMap<string, SlotValue>;

export interface SlotValue {
  /** As the task wrote it, suffix included. */
  readonly variable: string;
  readonly value: string;
}

/**
 * Sorts variables into slots: no suffix is slot 0, else one digit is its number. Variables whose names begin with none of
 * `stems` are left alone. Those with a stem and anything else behind it, and two different values for one thing, go to
 * `complain`.
 */
export function slotsOf(
  variables: readonly Variable[],
  stems: readonly string[],
  complain: (problem: string) => void,
): ReadonlyMap<number, Slot> {
  const slots = new Map<number, Map<string, SlotValue>>();
  for (const { name, value = '' } of variables) {
    const stem = stems.find((one) => name.startsWith(one));
    if (stem === undefined) continue;
    const suffix = name.slice(stem.length);
    if (!/^\d?$/.test(suffix)) {
      complain(`variable ${name} is not ${stem} with nothing or one digit 0 to 9 behind it; correct or remove it`);
      continue;
    }
    const number = Number(suffix);
    const slot = slots.get(number) ?? new Map<string, SlotValue>();
    slots.set(number, slot);
    const present = slot.get(stem);
    if (present !== undefined && present.value !== value) {
      const names =
        present.variable === name ? `${name} is set twice` : `${present.variable} and ${name} mean the same`;
      complain(`${names} and differ; set one of them`);
    }
    slot.set(stem, present ?? { variable: name, value });
  }
  return slots;
}

/** Fails with `bad_variable`. */
export function badVariable(problem: string): never {
  throw new IsolatorError('bad_variable', problem);
}

/** One of `choices`, or the default when the variable is not set. Fails with `bad_variable`. */
export function choice<Choice extends string>(
  given: SlotValue | undefined,
  choices: readonly Choice[],
  usual: Choice,
): Choice {
  if (given === undefined) return usual;
  const chosen = choices.find((one) => one === given.value);
  return (
    chosen ?? badVariable(`${given.variable} is ${JSON.stringify(given.value)}; it can be ${choices.join(' or ')}`)
  );
}
