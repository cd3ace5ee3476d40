import type { Command, Option } from 'commander';

/** What may come next on a command line: words, or something that only the shell or the cluster knows. */
export type Completion =
  | { readonly kind: 'words'; readonly words: readonly string[] }
  | { readonly kind: 'files' | 'directories' }
  | { readonly kind: 'datasets' | 'nodes' | 'snapshots' };

/** What a placeholder in an option's or argument's description stands for. */
const BY_PLACEHOLDER: Readonly<Record<string, Completion>> = {
  file: { kind: 'files' },
  directory: { kind: 'directories' },
  dataset: { kind: 'datasets' },
  node: { kind: 'nodes' },
  snapshot: { kind: 'snapshots' },
};
const NOTHING: Completion = { kind: 'words', words: [] };

/** What fits for the last of `words`, which may be empty; `words` are those after the program's name. Pure. */
export function complete(program: Command, words: readonly string[]): Completion {
  const current = words.at(-1) ?? '';
  const { command, given, pending } = walk(program, words.slice(0, -1));
  if (pending !== undefined) return ofOption(pending);
  if (current.startsWith('-')) {
    const options = [...optionsOf(command), ...(command === program ? [] : optionsOf(program))];
    return { kind: 'words', words: [...new Set([...options.flatMap(flagsOf), '--help'])] };
  }
  if (command.commands.length > 0 && given === 0) {
    const visible = command.commands.filter((child) => !isHidden(child));
    return { kind: 'words', words: visible.flatMap((child) => [child.name(), ...child.aliases()]) };
  }
  const asked = command.registeredArguments;
  const argument = asked[given] ?? (asked.at(-1)?.variadic === true ? asked.at(-1) : undefined);
  if (argument === undefined) return NOTHING;
  if (argument.argChoices !== undefined) return { kind: 'words', words: argument.argChoices };
  return BY_PLACEHOLDER[argument.name()] ?? NOTHING;
}

interface Place {
  readonly command: Command;
  /** Arguments of the command that are there already. */
  readonly given: number;
  /** An option that waits for its value. */
  readonly pending: Option | undefined;
}

function walk(program: Command, before: readonly string[]): Place {
  let command = program;
  let given = 0;
  let pending: Option | undefined;
  for (const word of before) {
    if (pending !== undefined) {
      pending = undefined;
      continue;
    }
    if (word.startsWith('-')) {
      const option = [...optionsOf(command), ...optionsOf(program)].find(
        ({ long, short }) => long === word || short === word,
      );
      if (option !== undefined && (option.required || option.optional)) pending = option;
      continue;
    }
    const child =
      given > 0 ? undefined : command.commands.find((one) => one.name() === word || one.aliases().includes(word));
    if (child === undefined) given += 1;
    else command = child;
  }
  return { command, given, pending };
}

function ofOption(option: Option): Completion {
  if (option.argChoices !== undefined) return { kind: 'words', words: option.argChoices };
  const placeholder = /[<[]([^>\].]+)/.exec(option.flags)?.[1] ?? '';
  return BY_PLACEHOLDER[placeholder] ?? NOTHING;
}

function optionsOf(command: Command): readonly Option[] {
  return command.options.filter(({ hidden }) => !hidden);
}

function flagsOf({ short, long }: Option): string[] {
  return [long, short].filter((flag) => flag !== undefined && flag !== null);
}

/** commander has no public word for it. */
function isHidden(command: Command): boolean {
  return (command as unknown as { readonly _hidden?: boolean })._hidden === true;
}
