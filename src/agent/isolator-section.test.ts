import { describe, expect, it } from 'vitest';
import { parseAgentConfig } from './agent-config.ts';

const BASE = 'version: 1\ncontrol-service: { hostname: control }\n';
const read = (text: string): ReturnType<typeof parseAgentConfig> => parseAgentConfig(`${BASE}${text}`, 'agent.yml');

describe('the isolator section of agent.yml', () => {
  it('is open by default', () => {
    expect(read('')).toMatchObject({
      isolatorSocketPath: '/run/flocker/isolator.sock',
      isolator: { rules: undefined, allowedPaths: [], killTasksOfLostVolumes: false },
    });
    expect(read('node: { isolator-socket: /x/y.sock }\nisolator: { rules: [] }')).toMatchObject({
      isolatorSocketPath: '/x/y.sock',
      isolator: { rules: [] },
    });
  });

  it('reads rules; what one leaves out is allowed', () => {
    const { isolator } = read(
      'isolator:\n  kill-tasks-of-lost-volumes: true\n  allow-paths: [/etc/x]\n  rules:\n' +
        '    - { name: web, role: web, volumes: ["web-*"], delete: false, largest-size: 100GiB }\n' +
        '    - { user: root, create: false, profiles: [gold], largest-size: 67108864 }\n',
    );
    expect(isolator).toEqual({
      killTasksOfLostVolumes: true,
      allowedPaths: ['/etc/x'],
      rules: [
        { name: 'web', role: 'web', volumes: ['web-*'], create: true, delete: false, largestSizeBytes: 100 * 2 ** 30 },
        { user: 'root', create: false, delete: true, profiles: ['gold'], largestSizeBytes: 2 ** 26 },
      ],
    });
  });

  it.each([
    ['isolator: { rule: [] }', '/isolator'],
    ['isolator: { rules: [{ roles: web }] }', '/isolator/rules/0'],
    ['isolator: { rules: [{ create: "no" }] }', '/isolator/rules/0/create'],
    ['isolator: { rules: [{ largest-size: big }] }', '/isolator/rules/0/largest-size is no size'],
    ['isolator: { allow-paths: [etc] }', '/isolator/allow-paths/0'],
  ])('refuses %s', (text, place) => {
    expect(() => read(text)).toThrow(place);
  });
});
