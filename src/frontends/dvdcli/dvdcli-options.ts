import { parseSizeBytes, roundUp } from '../../kit/sizes.ts';
import { SIZE_STEP_BYTES } from '../../model/dataset.ts';
import { VolumeError } from '../../volumes/volume-error.ts';
import type { VolumeSpec } from '../../volumes/volume-spec.ts';

/** Options that REX-Ray has and that change nothing here. Those that would copy data are refused with all others. */
const IGNORED: ReadonlySet<string> = new Set(['iops', 'volumetype']);
const KNOWN =
  'size=GIGABYTES (or with a unit), profile=NAME, newfstype=ext4 or xfs, overwritefs=false, access=ro or rw';
const GIB = 2 ** 30;

/** What the `--volumeopts` of dvdcli ask for. */
export interface DvdcliOptions {
  readonly wish: Pick<VolumeSpec, 'mode' | 'sizeBytes' | 'profile' | 'filesystem'>;
  /** An existing volume is to be made anew. */
  readonly overwrite: boolean;
  /** Words on options that change nothing. */
  readonly notes: readonly string[];
}

type Wish = { -readonly [Key in keyof DvdcliOptions['wish']]: DvdcliOptions['wish'][Key] };

/** Reads options as `key=value`; keys in any case, as REX-Ray's users write them. The last of several counts. Throws `refused` or `bad_size`. */
export function parseDvdcliOptions(name: string, options: readonly string[]): DvdcliOptions {
  const wish: Wish = { mode: 'rw' };
  const notes: string[] = [];
  let overwrite = false;
  for (const option of options) {
    const equals = option.indexOf('=');
    const key = option.slice(0, Math.max(0, equals)).trim().toLowerCase();
    const value = option.slice(equals + 1).trim();
    const refuse = (why: string): never => {
      throw new VolumeError('refused', `volume ${name}: option ${JSON.stringify(option)} ${why}`);
    };
    if (key === 'size') wish.sizeBytes = sizeIn(name, value);
    else if (key === 'profile') wish.profile = value;
    else if (key === 'newfstype') wish.filesystem = oneOf(value, ['ext4', 'xfs']) ?? refuse('has to be ext4 or xfs');
    else if (key === 'access') wish.mode = oneOf(value, ['ro', 'rw']) ?? refuse('has to be ro or rw');
    else if (key === 'overwritefs')
      overwrite = (oneOf(value.toLowerCase(), ['true', 'false']) ?? refuse('has to be true or false')) === 'true';
    else if (IGNORED.has(key)) notes.push(`option ${key} changes nothing here: choose a profile instead`);
    else refuse(`is not known here; the options are ${KNOWN}`);
  }
  return { wish, overwrite, notes };
}

/** A plain number is gigabytes, binary ones as everywhere in Flocker. */
function sizeIn(name: string, text: string): number {
  const plain = /^\d+(\.\d+)?$/.test(text);
  const sizeBytes = plain ? roundUp(Number(text) * GIB, SIZE_STEP_BYTES) : parseSizeBytes(text);
  if (sizeBytes !== undefined && Number.isSafeInteger(sizeBytes)) return sizeBytes;
  throw new VolumeError(
    'bad_size',
    `volume ${name}: ${JSON.stringify(text)} is no size; write gigabytes as in size=10, or a unit as in size=512MiB`,
  );
}

function oneOf<Choice extends string>(value: string, choices: readonly Choice[]): Choice | undefined {
  return choices.find((choice) => choice === value);
}
