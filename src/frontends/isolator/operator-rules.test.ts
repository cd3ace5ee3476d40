import { describe, expect, it } from 'vitest';
import { judge, type OperatorRule } from './operator-rules.ts';
import type { VolumeRequest } from './volume-request.ts';

const request = (more: Partial<VolumeRequest> = {}): VolumeRequest => ({
  variable: 'FLOCKER_ID',
  name: 'web-1',
  containerPath: '/data',
  mode: 'rw',
  create: 'auto',
  onExit: 'keep',
  mayMakeInTmp: false,
  ...more,
});
const rule = (more: Partial<OperatorRule> = {}): OperatorRule => ({ create: true, delete: true, ...more });
const who = (role: string, user = 'root'): { roles: string[]; user: string } => ({ roles: [role], user });

describe('judge', () => {
  it('allows everything without rules, and nothing with an empty list', () => {
    expect(judge(undefined, who('any'), request({ onExit: 'delete' }))).toEqual({ whyNotCreate: undefined });
    expect(() => judge([], who('any'), request())).toThrow('none of the 0 rules');
  });

  it('takes the first rule that fits role, user and name', () => {
    const rules = [
      rule({ role: 'web', volumes: ['web-*', 'shared'], create: false, name: 'web tasks' }),
      rule({ role: 'web', user: 'ops' }),
      rule({ role: 'eng/*', volumes: ['*'] }),
    ];
    expect(judge(rules, who('web'), request()).whyNotCreate).toBe(
      "rule 1 (web tasks) in this node's agent.yml does not let role web and user root make volumes",
    );
    expect(judge(rules, who('web', 'ops'), request({ name: 'db' }))).toEqual({ whyNotCreate: undefined });
    expect(judge(rules, who('eng/db'), request({ name: 'db' }))).toEqual({ whyNotCreate: undefined });
    expect(() => judge(rules, who('web'), request({ name: 'db' }))).toThrow(
      "volume db: none of the 3 rules in this node's agent.yml lets role web and user root use it",
    );
    expect(() => judge(rules, who('eng'), request())).toThrow('none of');
  });

  it('does not take a container without a role, or with another one besides, for one of a role', () => {
    const rules = [rule({ role: 'web' })];
    expect(() => judge(rules, { roles: [], user: 'root' }, request())).toThrow('role (none)');
    expect(() => judge(rules, { roles: ['web', 'db'], user: 'root' }, request())).toThrow('role web, db');
    expect(judge([rule({ role: '*' })], { roles: [], user: 'root' }, request())).toEqual({ whyNotCreate: undefined });
  });

  it('says what a rule forbids', () => {
    expect(() => judge([rule({ delete: false })], who('web'), request({ onExit: 'delete' }))).toThrow(
      "rule 1 in this node's agent.yml does not let role web and user root delete volumes",
    );
    const gold = [rule({ profiles: ['gold', 'silver'] })];
    expect(judge(gold, who('web'), request({ profile: 'gold' })).whyNotCreate).toBeUndefined();
    expect(judge(gold, who('web'), request({ profile: 'lead' })).whyNotCreate).toContain(
      'with profile lead; allowed: gold, silver',
    );
    expect(judge(gold, who('web'), request()).whyNotCreate).toContain('with no profile');
    const small = [rule({ largestSizeBytes: 2 ** 30 })];
    expect(judge(small, who('web'), request({ sizeBytes: 2 ** 30 })).whyNotCreate).toBeUndefined();
    expect(judge(small, who('web'), request({ sizeBytes: 2 ** 30 + 1024 })).whyNotCreate).toContain(
      'the largest is 1 GiB',
    );
    expect(judge(small, who('web'), request()).whyNotCreate).toContain('75 GiB (the default size)');
  });

  it.each([
    ['web-*', 'web-', true],
    ['web-*', 'web', false],
    ['*-db', 'x-db', true],
    ['a*b*c', 'a-b-c', true],
    ['a*b*c', 'ac', false],
    ['ab*ba', 'aba', false],
    ['*', '', true],
    ['a.c', 'abc', false],
    ['**x', 'x', true],
    ['a*a*a', 'aa', false],
    ['*a*', 'bab', true],
  ])('pattern %s on %s: %s', (pattern, name, fits) => {
    const decide = (): unknown => judge([rule({ volumes: [pattern] })], who('r'), request({ name }));
    if (fits) expect(decide()).toEqual({ whyNotCreate: undefined });
    else expect(decide).toThrow('none of');
  });
});
