import { describe, expect, it } from 'vitest';
import { parseArguments } from './arguments.ts';

const where = ['--volumedriver=flocker', '--volumename=db'];
const request = (more: object): object => ({
  kind: 'request',
  request: { command: 'mount', driver: 'flocker', name: 'db', options: [], explicitCreate: false, ...more },
});

describe('parseArguments', () => {
  it.each<[readonly string[], object]>([
    [['mount', ...where], {}],
    [[...where, 'mount'], {}],
    [['mount', '--volumedriver', 'flocker', '--volumename', 'db'], {}],
    [['mount', ...where, '--volumename=other'], { name: 'other' }],
    [['mount', ...where, '--volumename=a=b --c'], { name: 'a=b --c' }],
    [['mount', ...where, '--volumename', '--odd'], { name: '--odd' }],
    [
      ['mount', ...where, '--volumeopts=profile=gold', '--volumeopts=size=10'],
      { options: ['profile=gold', 'size=10'] },
    ],
    [['mount', ...where, '--volumeopts=profile=gold,size=10,'], { options: ['profile=gold', 'size=10'] }],
    [['mount', ...where, '--volumeopts', 'label=a=b'], { options: ['label=a=b'] }],
    [['mount', ...where, '--explicitcreate'], { explicitCreate: true }],
    [['mount', ...where, '--explicitCreate=true'], { explicitCreate: true }],
    [['mount', ...where, '--explicitcreate=1'], { explicitCreate: true }],
    [['mount', ...where, '--explicitCreate=false'], {}],
    [['unmount', ...where], { command: 'unmount' }],
    [['list', '--volumedriver=flocker'], { command: 'list', name: '' }],
  ])('%j', (args, expected) => {
    expect(parseArguments(args)).toEqual(request(expected));
  });

  it.each<[readonly string[], string]>([
    [['mount', '--volumename=db'], 'mount needs --volumedriver'],
    [['mount', '--volumedriver=flocker'], 'mount needs --volumename'],
    [['mount', ...where, '--volumeopts=size'], '--volumeopts "size" is not like key=value'],
    [['mount', ...where, '--volumeopts==10'], '--volumeopts "=10" is not like key=value'],
    [['mount', ...where, '--volumeopts'], 'flag --volumeopts needs a value'],
    [['mount', ...where, '--explicitcreate=maybe'], '--explicitcreate is "maybe"; it has to be true or false'],
    [['mount', ...where, '--volumesize=3'], 'unknown flag --volumesize'],
    [['mount', ...where, '-x'], 'unknown flag -x'],
    [['mount', 'db', ...where], '"db" is one argument too many'],
    [['unmount', ...where, '--volumeopts=size=1'], 'unmount takes no --volumeopts'],
    [['path', ...where, '--explicitcreate'], 'path takes no --explicitcreate'],
    [['mout', ...where], 'unknown command "mout"'],
  ])('%j is refused', (args, message) => {
    expect(parseArguments(args)).toEqual({ kind: 'fault', message });
  });

  it.each([[], ['help'], ['--help'], ['mount', '-h'], ['help', 'mount']])('%j %j asks for help', (...args) => {
    expect(parseArguments(args)).toEqual({ kind: 'help' });
  });

  it('version needs nothing', () => {
    expect(parseArguments(['version'])).toEqual({ kind: 'version' });
  });
});
