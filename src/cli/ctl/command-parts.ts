import { type Command, InvalidArgumentError } from 'commander';
import type { CtlEnvironment } from './ctl-environment.ts';
import { type GlobalOptions, inSession, type Session } from './session.ts';

/** What a command does with its own options and arguments. */
type Work<Options> = (session: Session, options: Options, args: readonly string[]) => Promise<void>;

/** The action of a command. One that is `endless` has as long as it likes, unless `--timeout` is given. */
export function act<Options>(
  environment: CtlEnvironment,
  work: Work<Options>,
  { endless }: { readonly endless: boolean } = { endless: false },
): (...given: unknown[]) => Promise<void> {
  return (...given) => {
    const command = given.at(-1) as Command;
    const options = given.at(-2) as Options;
    const root = rootOf(command);
    const limited = !endless || root.getOptionValueSource('timeout') !== 'default';
    const name = nameOf(command);
    return inSession(name, root.opts<GlobalOptions>(), environment, { limited, endless }, (session) =>
      work(session, options, command.args),
    );
  };
}

/** `snapshot create` of `flockerctl snapshot create`. */
function nameOf(command: Command): string {
  const { parent } = command;
  return parent === null || parent.parent === null ? command.name() : `${nameOf(parent)} ${command.name()}`;
}

function rootOf(command: Command): Command {
  return command.parent === null ? command : rootOf(command.parent);
}

/** An unset variable of a shell must not select anything. */
export function parseSelector(text: string): string {
  if (text.trim() === '') throw new InvalidArgumentError('It is empty.');
  return text;
}

/** Texts of options that several commands have. */
export const DATASET = 'the beginning of its UUID, or its name';
export const NODE = 'the beginning of its UUID, or its address';

/** Lines below the help of a command. */
export function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  flockerctl ${line}\n`).join('')}`;
}
