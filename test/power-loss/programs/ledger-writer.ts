import { openLedger } from '../../../src/volumes/ledger.ts';
import { LEDGER_COMMITS, ledgerHolding, lives } from '../commits.ts';
import { say } from './say.ts';

const [, , directory = ''] = process.argv;
for (const groups of lives(LEDGER_COMMITS)) {
  const ledger = await openLedger(directory);
  for (const group of groups) {
    await Promise.all(group.map((number) => ledger.put(ledgerHolding(number)).then(() => say(`committed ${number}`))));
  }
  await ledger.close();
}
