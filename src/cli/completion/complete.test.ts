import { Argument, Command, Option } from 'commander';
import { describe, expect, it } from 'vitest';
import { complete } from './complete.ts';
import { candidateLines } from './completion-command.ts';

function program(): Command {
  const root = new Command('ctl').option('--user <name>', 'who').option('--json', 'for programs');
  root.command('list').alias('ls').option('-l, --long', 'all');
  root.command('move').option('-d, --dataset <dataset>', 'what').option('-t, --destination <node>', 'where');
  root.command('show').argument('<dataset>', 'what');
  root.command('inspect').argument('<file...>', 'which');
  root.command('secret', { hidden: true });
  root.addCommand(new Command('sh').addArgument(new Argument('<shell>', 'which').choices(['bash', 'zsh'])));
  root.command('up').addOption(new Option('--backend <kind>', 'engine').choices(['loopback', 'btrfs']));
  const snapshot = root.command('snapshot');
  snapshot.command('create');
  snapshot.command('destroy').option('-s, --snapshot <snapshot>', 'which');
  return root;
}
const words = (...typed: string[]): readonly string[] => {
  const found = complete(program(), typed);
  return found.kind === 'words' ? found.words : [`:${found.kind}`];
};

describe('completion', () => {
  it('knows commands and their aliases, but not hidden ones', () => {
    expect(words('')).toEqual(['list', 'ls', 'move', 'show', 'inspect', 'sh', 'up', 'snapshot']);
    expect(words('snapshot', '')).toEqual(['create', 'destroy']);
    expect(words('--json', '')).toContain('list');
    expect(words('--user', 'list', '')).toContain('list');
  });

  it('knows options of the command and of the program', () => {
    expect(words('ls', '-')).toEqual(['--long', '-l', '--user', '--json', '--help']);
    expect(words('--j')).toContain('--json');
  });

  it.each([
    [['move', '-d', ''], [':datasets']],
    [['move', '--destination', 'x'], [':nodes']],
    [['snapshot', 'destroy', '-s', ''], [':snapshots']],
    [['show', ''], [':datasets']],
    [['show', 'one', ''], []],
    [['inspect', 'one', ''], [':files']],
    [
      ['sh', ''],
      ['bash', 'zsh'],
    ],
    [
      ['up', '--backend', ''],
      ['loopback', 'btrfs'],
    ],
    [['--user', ''], []],
    [['list', ''], []],
    [['nonsense', ''], []],
  ])('%j', (typed, expected) => {
    expect(words(...typed)).toEqual(expected);
  });

  it('answers a line for each candidate that begins as typed', async () => {
    const ask = (kind: string): Promise<readonly string[]> => Promise.resolve([`${kind}-1`, 'web']);
    expect(await candidateLines(program(), ['s'], ask)).toBe('show\nsh\nsnapshot\n');
    expect(await candidateLines(program(), ['show', 'w'], ask)).toBe('web\n');
    expect(await candidateLines(program(), ['inspect', ''], ask)).toBe(':files\n');
  });
});
