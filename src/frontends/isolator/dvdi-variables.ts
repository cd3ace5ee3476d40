import { roundUp } from '../../kit/sizes.ts';
import { SIZE_STEP_BYTES } from '../../model/dataset.ts';
import type { Variable } from './isolator-schemas.ts';
import { badVariable, choice, type Slot, type SlotValue, slotsOf } from './variable-slots.ts';
import type { VolumeRequest } from './volume-request.ts';

const NAME = 'DVDI_VOLUME_NAME';
const DRIVER = 'DVDI_VOLUME_DRIVER';
const OPTS = 'DVDI_VOLUME_OPTS';
const PATH = 'DVDI_VOLUME_CONTAINERPATH';
const DVDCLI = 'DVDI_VOLUME_DVDCLI';
const EXPLICIT = 'DVDI_VOLUME_EXPLICITCREATE';
const STEMS = [NAME, DRIVER, OPTS, PATH, DVDCLI, EXPLICIT];

/** Options that REX-Ray has and that change nothing here; those that would lose or copy data are refused. */
const IGNORED_OPTIONS: ReadonlySet<string> = new Set(['iops', 'volumetype']);
const GIB = 2 ** 30;

/**
 * The volumes that `DVDI_VOLUME_*` variables ask for from driver `flocker`, by slot. Slots of other drivers, and of none,
 * which meant `rexray`, are left alone. Fails with `bad_variable`.
 */
export function dvdiRequests(variables: readonly Variable[]): VolumeRequest[] {
  const problems: string[] = [];
  const slots = slotsOf(variables, STEMS, (problem) => problems.push(problem));
  const ours = [...slots].filter(([, slot]) => slot.get(DRIVER)?.value.trim().toLowerCase() === 'flocker');
  const [problem] = problems;
  if (ours.length > 0 && problem !== undefined) badVariable(problem);
  return ours.sort(([a], [b]) => a - b).flatMap(([, slot]) => requestOf(slot) ?? []);
}

function requestOf(slot: Slot): VolumeRequest | undefined {
  const dvdcli = slot.get(DVDCLI);
  if (dvdcli !== undefined)
    badVariable(`${dvdcli.variable} is refused: a task cannot choose a program that runs as root; remove it`);
  const [name, path] = [slot.get(NAME), slot.get(PATH)];
  // DVDI skips a slot without a name.
  if (name === undefined || name.value === '') return undefined;
  if (path === undefined || path.value === '')
    return badVariable(
      `${name.variable} set without ${name.variable.replace(NAME, PATH)}, where the task sees the volume: mounts that ` +
        'only the host sees are not made; set it',
    );
  const explicit = slot.get(EXPLICIT);
  // DVDI's default is to create too: `explicitcreate` only told dvdcli to fail instead of calling Create.
  const lowered = explicit && { ...explicit, value: explicit.value.trim().toLowerCase() };
  const create = choice(lowered, ['true', 'false'], 'false') === 'true' ? 'never' : 'auto';
  return {
    variable: name.variable,
    name: name.value,
    containerPath: path.value,
    mode: 'rw',
    create,
    onExit: 'keep',
    ...optionsOf(slot.get(OPTS)),
    mayMakeInTmp: true,
  };
}

type Options = { -readonly [Key in 'sizeBytes' | 'profile' | 'filesystem']?: NonNullable<VolumeRequest[Key]> };

function optionsOf(given: SlotValue | undefined): Options {
  const options: Options = {};
  if (given === undefined) return options;
  const { variable } = given;
  for (const piece of given.value.split(',').filter((one) => one.trim() !== '')) {
    const equals = piece.indexOf('=');
    const key = piece.slice(0, Math.max(0, equals)).trim();
    const value = { variable: `${key} in ${variable}`, value: piece.slice(equals + 1).trim() };
    const known = key.toLowerCase();
    if (known === 'size') options.sizeBytes = gigabytes(value);
    else if (known === 'profile' && value.value !== '') options.profile = value.value;
    else if (known === 'newfstype') options.filesystem = choice(value, ['ext4', 'xfs'], 'ext4');
    else if (known === 'overwritefs') choice(value, ['false'], 'false');
    else if (!IGNORED_OPTIONS.has(known))
      badVariable(
        `${variable} has ${JSON.stringify(piece)}; the options are size=GIGABYTES, newfstype=ext4 or xfs, and profile=NAME`,
      );
  }
  return options;
}

function gigabytes({ variable, value }: SlotValue): number {
  const sizeBytes = /^\d+(\.\d+)?$/.test(value) ? roundUp(Number(value) * GIB, SIZE_STEP_BYTES) : Number.NaN;
  if (Number.isSafeInteger(sizeBytes)) return sizeBytes;
  return badVariable(`${variable} is ${JSON.stringify(value)}; write the number of gigabytes, as in size=10`);
}
