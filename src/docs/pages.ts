import { flockerCaProgram } from '../bin/flocker-ca-program.ts';
import { flockerProgram } from '../bin/flocker-program.ts';
import { flockerctlProgram } from '../bin/flockerctl-program.ts';
import { describeApi } from '../control/rest/describe-api.ts';
import { exposition } from '../frontends/resource-provider/serve-metrics.ts';
import { cliPage } from './cli-page.ts';
import { alertRules, type MetricSource, metricsPage } from './metrics-page.ts';
import { type ApiDocument, restPage } from './rest-page.ts';
import { settingsPage } from './settings-page.ts';

/** A page that is made from the code. */
interface GeneratedPage {
  /** From the root of the repository. */
  readonly path: string;
  readonly text: () => string | Promise<string>;
}

/** Every generated page. A new one needs only its line here. */
export const generatedPages: readonly GeneratedPage[] = [
  {
    path: 'docs/reference/cli.md',
    text: () => cliPage([flockerProgram(), flockerctlProgram(), flockerCaProgram()]),
  },
  { path: 'docs/reference/settings.md', text: settingsPage },
  { path: 'docs/reference/metrics.md', text: async () => metricsPage(await metricSources()) },
  { path: 'examples/prometheus/flocker.rules.yml', text: alertRules },
  { path: 'docs/reference/rest.md', text: async () => restPage((await describeApi()).openApi as ApiDocument) },
];

async function metricSources(): Promise<readonly MetricSource[]> {
  const none = { subscribed: false, disks: 0, pending: 0, unacknowledged: 0, published: 0, publishFailures: 0 };
  return [
    {
      title: 'Control service',
      where: '`GET /metrics` on the REST port, 4523, behind the same certificates.',
      exposition: (await describeApi()).metrics,
    },
    {
      title: 'Mesos resource provider',
      where: '`GET /metrics` on the socket `provider.sock` in its state directory.',
      exposition: exposition(none),
    },
  ];
}
