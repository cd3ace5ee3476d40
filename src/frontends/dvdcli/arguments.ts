/** Commands of dvdcli that are about volumes. */
export const COMMANDS = ['create', 'remove', 'mount', 'unmount', 'path', 'get', 'list'] as const;
export type VolumeCommand = (typeof COMMANDS)[number];

/** One command with its flags. */
export interface DvdcliRequest {
  readonly command: VolumeCommand;
  readonly driver: string;
  /** Empty with `list`. */
  readonly name: string;
  /** `key=value` each. */
  readonly options: readonly string[];
  /** With `mount`: a missing volume is not made. */
  readonly explicitCreate: boolean;
}

export type DvdcliWish =
  | { readonly kind: 'request'; readonly request: DvdcliRequest }
  | { readonly kind: 'version' }
  | { readonly kind: 'help' }
  | { readonly kind: 'fault'; readonly message: string };

const VALUE_FLAGS = ['volumedriver', 'volumename', 'volumeopts'] as const;
type ValueFlag = (typeof VALUE_FLAGS)[number];
/** As Go's strconv.ParseBool reads them. */
const BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ...['1', 't', 'T', 'true', 'TRUE', 'True'].map((text) => [text, true] as const),
  ...['0', 'f', 'F', 'false', 'FALSE', 'False'].map((text) => [text, false] as const),
]);

/** Reads the arguments after the program's name. Flags may stand before and after the command, as `--flag=value` or `--flag value`. */
export function parseArguments(args: readonly string[]): DvdcliWish {
  const values: Record<ValueFlag, string[]> = { volumedriver: [], volumename: [], volumeopts: [] };
  const words: string[] = [];
  let explicitCreate: boolean | undefined;
  let help = false;
  for (let index = 0; index < args.length; index += 1) {
    const argument = args[index] ?? '';
    if (argument === '--') {
      words.push(...args.slice(index + 1));
      break;
    }
    if (argument === '-h' || argument === '--help') {
      help = true;
    } else if (!argument.startsWith('-') || argument === '-') {
      words.push(argument);
    } else {
      const [, flag = '', value] = /^--([^=]*)(?:=(.*))?$/s.exec(argument) ?? [];
      const valueFlag = VALUE_FLAGS.find((one) => one === flag);
      if (valueFlag !== undefined) {
        const given = value ?? args[(index += 1)];
        if (given === undefined) return fault(`flag --${flag} needs a value`);
        values[valueFlag].push(given);
      } else if (flag === 'explicitcreate' || flag === 'explicitCreate') {
        explicitCreate = BOOLEANS.get(value ?? 'true');
        if (explicitCreate === undefined)
          return fault(`--${flag} is ${JSON.stringify(value)}; it has to be true or false`);
      } else {
        return fault(`unknown flag ${argument.split('=')[0]}`);
      }
    }
  }
  const [word, surplus] = words;
  if (help || word === undefined || word === 'help') return { kind: 'help' };
  if (surplus !== undefined) return fault(`${JSON.stringify(surplus)} is one argument too many`);
  if (word === 'version') return { kind: 'version' };
  const command = COMMANDS.find((one) => one === word);
  if (command === undefined) return fault(`unknown command ${JSON.stringify(word)}`);
  return requestOf(command, values, explicitCreate);
}

function requestOf(
  command: VolumeCommand,
  values: Readonly<Record<ValueFlag, readonly string[]>>,
  explicitCreate: boolean | undefined,
): DvdcliWish {
  const driver = values.volumedriver.at(-1) ?? '';
  const name = values.volumename.at(-1) ?? '';
  const options = values.volumeopts.flatMap((text) => text.split(',')).filter((option) => option !== '');
  if (driver === '') return fault(`${command} needs --volumedriver`);
  if (name === '' && command !== 'list') return fault(`${command} needs --volumename`);
  if (values.volumeopts.length > 0 && command !== 'create' && command !== 'mount')
    return fault(`${command} takes no --volumeopts`);
  if (explicitCreate !== undefined && command !== 'mount') return fault(`${command} takes no --explicitcreate`);
  const odd = options.find((option) => !/^[^=]+=/.test(option));
  if (odd !== undefined) return fault(`--volumeopts ${JSON.stringify(odd)} is not like key=value`);
  return { kind: 'request', request: { command, driver, name, options, explicitCreate: explicitCreate ?? false } };
}

function fault(message: string): DvdcliWish {
  return { kind: 'fault', message };
}
