import { randomUUID } from 'node:crypto';
import { openLevelStore } from '../../../src/control/store/level/open-level-store.ts';
import { silentLogger } from '../../../src/kit/logger.ts';
import { lives, STORE_COMMITS, storeCommit } from '../commits.ts';
import { say } from './say.ts';

const [, , directory = ''] = process.argv;
for (const groups of lives(STORE_COMMITS)) {
  const store = await openLevelStore({ directory, newUuid: randomUUID, logger: silentLogger });
  say(`open ${store.clusterId}`);
  for (const group of groups) {
    await Promise.all(group.map((number) => store.commit(storeCommit(number)).then(() => say(`committed ${number}`))));
  }
  await store.close();
}
