import { randomUUID } from 'node:crypto';
import { CsiBench } from '../src/frontends/csi/testing/csi-bench.ts';

/** The plugin over a fake cluster in a process of its own; says where its socket is and ends with its parent. */
const bench = await CsiBench.start({ newUuid: randomUUID });
process.send?.(bench.socketPath);
process.once('disconnect', () => {
  void bench.close().finally(() => process.exit(0));
});
