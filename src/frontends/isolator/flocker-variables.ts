import { parseSizeBytes } from '../../kit/sizes.ts';
import type { Variable } from './isolator-schemas.ts';
import { badVariable, choice, type Slot, slotsOf } from './variable-slots.ts';
import type { VolumeRequest } from './volume-request.ts';

const PATH = 'FLOCKER_CONTAINER_VOLUME_PATH';
const ID = 'FLOCKER_ID';
const SIZE = 'FLOCKER_SIZE';
const PROFILE = 'FLOCKER_PROFILE';
const FS = 'FLOCKER_FS';
const MODE = 'FLOCKER_MODE';
const CREATE = 'FLOCKER_CREATE';
const ON_EXIT = 'FLOCKER_ON_EXIT';
const STEMS = [PATH, ID, SIZE, PROFILE, FS, MODE, CREATE, ON_EXIT];

/** The volumes that `FLOCKER_*` variables ask for, by slot. Fails with `bad_variable`. */
export function flockerRequests(variables: readonly Variable[]): VolumeRequest[] {
  const slots = slotsOf(variables, STEMS, badVariable);
  return [...slots].sort(([a], [b]) => a - b).map(([number, slot]) => requestOf(number, slot));
}

function requestOf(number: number, slot: Slot): VolumeRequest {
  for (const { variable, value } of slot.values())
    if (value === '') badVariable(`${variable} is empty; set or remove it`);
  const [id, path] = [slot.get(ID), slot.get(PATH)];
  if (id === undefined || path === undefined) {
    const [missing] = id === undefined ? [ID] : [PATH];
    const present = [...slot.values()].map(({ variable }) => variable).join(', ');
    const what = missing === ID ? 'the name of the volume' : 'where the task sees the volume';
    return badVariable(`${present} set without ${missing}${number === 0 ? '' : number}, ${what}; set both or none`);
  }
  const sizeBytes = sizeOf(slot);
  const profile = slot.get(PROFILE)?.value;
  const filesystem = slot.get(FS);
  return {
    variable: id.variable,
    name: id.value,
    containerPath: path.value,
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
    ...(profile === undefined ? {} : { profile }),
    ...(filesystem === undefined ? {} : { filesystem: choice(filesystem, ['ext4', 'xfs'], 'ext4') }),
    mode: choice(slot.get(MODE), ['rw', 'ro'], 'rw'),
    create: choice(slot.get(CREATE), ['auto', 'never'], 'auto'),
    onExit: choice(slot.get(ON_EXIT), ['keep', 'delete'], 'keep'),
    mayMakeInTmp: false,
  };
}

function sizeOf(slot: Slot): number | undefined {
  const size = slot.get(SIZE);
  if (size === undefined) return undefined;
  const sizeBytes = parseSizeBytes(size.value);
  return sizeBytes ?? badVariable(`${size.variable} is ${JSON.stringify(size.value)}; write a size as 512MiB or 10GiB`);
}
