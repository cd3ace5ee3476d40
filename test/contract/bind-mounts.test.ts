import { describe } from 'vitest';
import { BindTargets } from '../../src/agent/host/bind-targets.ts';
import { loadKernel } from '../../src/agent/host/kernel.ts';
import { LinkMounts } from '../../src/frontends/csi/testing/csi-bench.ts';
import { bindMountsContract } from './bind-mounts.ts';

bindMountsContract('symbolic links', () => new LinkMounts());

describe.runIf(process.getuid?.() === 0)('the kernel (needs root)', () => {
  bindMountsContract('mounts', () => new BindTargets(loadKernel()));
});
