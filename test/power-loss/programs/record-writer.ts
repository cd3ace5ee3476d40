import { join } from 'node:path';
import { readRecord, writeRecord } from '../../../src/frontends/resource-provider/provider-record.ts';
import { RECORD_COMMITS, RECORD_FILE, RECORD_OWNER, recordAfter } from '../commits.ts';
import { say } from './say.ts';

const [, , directory = ''] = process.argv;
const path = join(directory, RECORD_FILE);
await readRecord(path, ...RECORD_OWNER);
for (let number = 1; number <= RECORD_COMMITS; number += 1) {
  await writeRecord(path, recordAfter(number));
  say(`committed ${number}`);
}
