import { randomUUID } from 'node:crypto';
import { openLevelStore } from '../../../src/control/store/level/open-level-store.ts';
import { silentLogger } from '../../../src/kit/logger.ts';
import { STORE_COMMITS, storeCommit } from '../commits.ts';
import { say } from './say.ts';

const [, , directory = ''] = process.argv;
const LIVES = 3;
let number = 0;
for (let life = 1; life <= LIVES; life += 1) {
  const store = await openLevelStore({ directory, newUuid: randomUUID, logger: silentLogger });
  say(`open ${store.clusterId}`);
  while (number < (STORE_COMMITS * life) / LIVES) {
    const together = (number % 3) + 1;
    const commits = Array.from({ length: together }, async () => {
      const mine = (number += 1);
      await store.commit(storeCommit(mine));
      say(`committed ${mine}`);
    });
    await Promise.all(commits);
  }
  await store.close();
}
