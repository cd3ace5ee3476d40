import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { cutPower } from './cut-power.ts';
import { SUBJECTS } from './subjects.ts';

const hasStrace = spawnSync('strace', ['-V']).status === 0;
const CUTS = 150;

describe.skipIf(!hasStrace)('what is on disk when the power goes (needs strace and a build)', () => {
  it.for(SUBJECTS)(
    '$name: is consistent and holds every acknowledged commit',
    { timeout: 120_000 },
    async (subject) => {
      const seed = Date.now() % 1_000_000_000;
      const { cuts, acknowledged, faults } = await cutPower(subject, seed, CUTS);
      expect(faults, `npm run power-loss -- --seed ${seed} --cuts ${CUTS} --only ${subject.name}`).toEqual([]);
      expect(cuts).toBeGreaterThan(CUTS / 2);
      expect(acknowledged).toBeGreaterThan(50);
    },
  );
});
