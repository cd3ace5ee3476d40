import { randomUUID } from 'node:crypto';
import { request } from 'node:https';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Json, RestApi } from '../support/rest-api.ts';
import { eventually } from './support/eventually.ts';
import { BACKENDS, UpCluster } from './support/up.ts';

const [backend] = BACKENDS;
const DATASETS = '/v1/configuration/datasets';
const LEASES = '/v1/configuration/leases';
const BURST = 40;

interface Answer {
  readonly status: number;
  readonly body: Json;
}

describe('a 2xx is durable', () => {
  let cluster: UpCluster;
  let api: RestApi;
  let nodes: readonly string[];
  beforeAll(async () => {
    cluster = await UpCluster.start('--backend', backend);
    api = await cluster.api();
    nodes = (await cluster.json()).nodes.map(({ uuid }) => uuid);
  });
  afterAll(() => cluster.remove());

  /** Sends all at once and kills the control service in the very turn of the `killAt`th answer. Resolves with the answers. */
  const killed = async (killAt: number, questions: readonly [string, string, object?][]): Promise<Answer[]> => {
    const { control } = await cluster.json();
    const tls = await cluster.user();
    const pid = await cluster.pid('control');
    let answered = 0;
    const answers = questions.map(
      ([method, path, body]) =>
        new Promise<Answer | undefined>((resolve) => {
          const options = { ...tls, method, servername: 'control-service', agent: false };
          const outgoing = request(new URL(path, control.url), options, (incoming) => {
            answered += 1;
            if (answered === killAt) process.kill(pid, 'SIGKILL');
            let text = '';
            incoming.on('data', (part: Buffer) => {
              text += part.toString();
            });
            const status = incoming.statusCode ?? 0;
            incoming.on('close', () =>
              resolve({ status, body: incoming.complete ? (JSON.parse(text) as Json) : null }),
            );
          });
          outgoing.on('error', () => resolve(undefined));
          outgoing.setHeader('content-type', 'application/json');
          outgoing.end(body === undefined ? undefined : JSON.stringify(body));
        }),
    );
    const done = (await Promise.all(answers)).filter((answer) => answer !== undefined);
    await eventually(async () => expect(await cluster.pid('control')).not.toBe(pid), 20_000);
    await eventually(() => api.get('/v1/version'), 20_000);
    return done;
  };
  const only = async (method: string, path: string, body?: object): Promise<void> => {
    const [answer] = await killed(1, [
      [method, path, ...(body === undefined ? [] : [body])] as [string, string, object?],
    ]);
    expect([200, 201]).toContain(answer?.status);
  };
  const configured = async (id: string): Promise<Json | undefined> => {
    const { json } = await api.get(DATASETS);
    return (json as { dataset_id: string }[]).find((dataset) => dataset.dataset_id === id);
  };
  const leases = async (): Promise<Json> => (await api.get(LEASES)).json;

  it('for each kind of change, when the control service is killed at its answer', async () => {
    const id = randomUUID();
    const [one = '', two = ''] = nodes;
    await only('POST', DATASETS, { primary: one, dataset_id: id, maximum_size: 67_108_864, metadata: { name: id } });
    expect(await configured(id)).toMatchObject({ primary: one, deleted: false, metadata: { name: id } });
    await only('POST', LEASES, { dataset_id: id, node_uuid: one, expires: null });
    expect(await leases()).toEqual([{ dataset_id: id, node_uuid: one, expires: null }]);
    await only('POST', `${DATASETS}/${id}`, { primary: two });
    expect(await configured(id)).toMatchObject({ primary: two });
    await only('DELETE', `${LEASES}/${id}`);
    expect(await leases()).toEqual([]);
    await only('DELETE', `${DATASETS}/${id}`);
    expect(await configured(id)).toMatchObject({ deleted: true });
  });

  it('for many changes at once, when it is killed amid their answers', async () => {
    const [primary = ''] = nodes;
    const creations = Array.from({ length: BURST }, (_, index): [string, string, object] => {
      const metadata = { name: `burst-${index}` };
      return ['POST', DATASETS, { primary, dataset_id: randomUUID(), maximum_size: 67_108_864, metadata }];
    });
    const answers = await killed(BURST / 2, creations);
    const made = answers.filter(({ status, body }) => status === 201 && body !== null);
    expect(made.length).toBeGreaterThan(0);
    const { json } = await api.get(DATASETS);
    for (const { body } of made) expect(json).toContainEqual(body);
    const ids = (json as { dataset_id: string; deleted: boolean }[]).filter(({ deleted }) => !deleted);
    await Promise.all(ids.map((dataset) => api.delete(`${DATASETS}/${dataset.dataset_id}`)));
    await eventually(async () => expect((await api.get('/v1/state/datasets')).json).toEqual([]), 60_000);
  });
});
