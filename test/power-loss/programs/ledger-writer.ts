import { openLedger } from '../../../src/volumes/ledger.ts';
import { LEDGER_COMMITS, ledgerHolding } from '../commits.ts';
import { say } from './say.ts';

const [, , directory = ''] = process.argv;
const LIVES = 3;
let number = 0;
for (let life = 1; life <= LIVES; life += 1) {
  const ledger = await openLedger(directory);
  while (number < (LEDGER_COMMITS * life) / LIVES) {
    const together = (number % 3) + 1;
    const commits = Array.from({ length: together }, async () => {
      const mine = (number += 1);
      await ledger.put(ledgerHolding(mine));
      say(`committed ${mine}`);
    });
    await Promise.all(commits);
  }
  await ledger.close();
}
