import { expect, it } from 'vitest';
import { parseProviderYml, providerConfig } from './provider-config.ts';

const DEFAULTS = { name: 'flocker_host', statePath: '/var/lib/flocker/provider', mountRoot: '/var/lib/flocker/mesos' };
const read = (text: string): ReturnType<typeof providerConfig> =>
  providerConfig(parseProviderYml(text, 'provider.yml'), DEFAULTS);

it('needs the address of the agent only', () => {
  expect(read('agent: http://10.0.0.1:5051')).toMatchObject({
    agentUrl: 'http://10.0.0.1:5051',
    type: 'io.flocker.rp',
    name: 'flocker_host',
    statePath: '/var/lib/flocker/provider',
    publishTimeoutMs: 120_000,
    offers: {
      mountRoot: '/var/lib/flocker/mesos',
      profiles: null,
      share: 1,
      offerExisting: false,
      defaultReservations: [],
    },
  });
});

it('takes profiles with and without weights, and a role', () => {
  const base = 'agent: https://a:1\n';
  expect(read(`${base}profiles: [gold, silver]`).offers.profiles).toEqual(
    new Map(Object.entries({ gold: 1, silver: 1 })),
  );
  expect(read(`${base}profiles: {gold: 3, silver: 0.5}`).offers.profiles).toEqual(
    new Map(Object.entries({ gold: 3, silver: 0.5 })),
  );
  expect(read(`${base}role: storage`).offers.defaultReservations).toEqual([{ type: 'DYNAMIC', role: 'storage' }]);
  const stacked = 'default-reservations: [{type: STATIC, role: a}, {type: DYNAMIC, role: a/b, principal: p}]';
  expect(read(base + stacked).offers.defaultReservations).toHaveLength(2);
});

it.each([
  ['', /agent/],
  ['agent: ftp://a', /agent/],
  ['agent: a:5051', /agent/],
  ['agent: http://a\nname: with-dash', /letters, digits and underscores/],
  ['agent: http://a\ntype: io..rp', /dots/],
  ['agent: http://a\nmount-root: /etc/disks', /mount-root: \/etc\/disks belongs to the system/],
  ['agent: http://a\nshare: 2', /share/],
  ['agent: http://a\nprofiles: {gold: 0}', /profiles/],
  ['agent: http://a\ncolour: red', /additional/],
  ['agent: http://a\ncredential: /a\ntoken-file: /b', /both/],
  ['agent: http://a\nrole: "*"', /role \*/],
  ['agent: http://a\ndefault-reservations: [{type: DYNAMIC, role: a}, {type: DYNAMIC, role: b}]', /below a/],
  ['agent: http://a\ndefault-reservations: [{type: DYNAMIC, role: a}, {type: STATIC, role: a/b}]', /STATIC/],
  ['agent: [', /provider.yml/],
])('refuses %j', (text, message) => {
  expect(() => read(text)).toThrow(message);
});
