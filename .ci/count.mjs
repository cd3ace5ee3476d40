// count.mjs NAME REPORT: the tests of a vitest JSON report that passed, and those that did not, on one line of standard output;
// the latter one by one, with their first lines of reason, on standard error.
import { readFileSync } from 'node:fs';

const [name, path] = process.argv.slice(2);
const LINES_OF_REASON = 12;

let report;
try {
  report = JSON.parse(readFileSync(path, 'utf8'));
} catch (error) {
  console.error(`${name}: no report: ${error.message}`);
  console.log('0 1');
  process.exit(0);
}

const tell = (what, reasons) => {
  console.error(`${name}: ${what}`);
  for (const line of reasons.join('\n').split('\n').slice(0, LINES_OF_REASON)) console.error(`    ${line}`);
};

let passed = 0;
let failed = 0;
for (const file of report.testResults) {
  const tests = file.assertionResults;
  for (const test of tests) {
    if (test.status === 'passed') {
      passed += 1;
      continue;
    }
    failed += 1;
    tell(`${test.status}: ${file.name} > ${test.fullName}`, test.failureMessages ?? []);
  }
  if (file.status === 'failed' && !tests.some((test) => test.status === 'failed')) {
    failed += 1;
    tell(`failed: ${file.name}`, [file.message ?? '']);
  }
}
if (passed === 0) {
  failed += 1;
  tell('no test passed', []);
}
console.log(passed, failed);
