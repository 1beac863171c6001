// node .ci/summary.mjs VITEST_JSON CHECK_EXIT_CODE TESTS_EXIT_CODE
// Prints one line of totals for readers that know no Vitest, and exits with 1 when anything failed.
import { readFileSync } from 'node:fs';

const [file, check, tests] = process.argv.slice(2);
let totals = { passed: 0, failed: 0, skipped: 0 };
try {
  const report = JSON.parse(readFileSync(file, 'utf8'));
  // A file that could not be loaded has no tests to count, and still is a failure.
  const broken = report.testResults.filter((suite) => suite.status === 'failed' && suite.assertionResults.length === 0);
  totals = {
    passed: report.numPassedTests,
    failed: report.numFailedTests + broken.length,
    skipped: report.numPendingTests + report.numTodoTests,
  };
} catch {
  totals.failed = 1;
  console.log('The tests did not run to their end: there is no report.');
}
if (check !== '0') {
  totals.failed += 1;
  console.log(`npm run check failed (exit code ${check}); see above.`);
}
if (tests !== '0' && totals.failed === 0) {
  totals.failed = 1;
  console.log(`npm test failed (exit code ${tests}) although no test did; see above.`);
}
const skipped = totals.skipped > 0 ? `, ${totals.skipped} skipped` : '';
console.log(`${totals.passed} passed, ${totals.failed} failed${skipped}`);
process.exitCode = totals.failed === 0 ? 0 : 1;
