import { expect } from 'vitest';
import type { Hello } from '../../src/api/agent-channel.ts';
import type { DatasetInspection } from '../../src/api/inspection.ts';
import { DATASETS, LEASES } from './contract-bodies.ts';
import type { TestControl } from './control.ts';
import { FakeAgent, type NodeCredentials } from './fake-agent.ts';

/** A dataset as `GET /v1/state/datasets` lists it. */
export interface StateEntry {
  readonly dataset_id: string;
  readonly primary?: string;
  readonly path?: string;
  readonly maximum_size?: number;
}

/** What tests of a running cluster do again and again, in the API's own terms. */
export interface ClusterRun {
  join(credentials: NodeCredentials, fields?: Partial<Hello>): Promise<FakeAgent>;
  create(primary: string, fields?: object): Promise<string>;
  move(id: string, primary: string): Promise<void>;
  remove(id: string): Promise<void>;
  lease(id: string, node: string, expires: number | null): Promise<void>;
  release(id: string): Promise<void>;
  inspect(id: string): Promise<DatasetInspection>;
  /** Waits until the inspection matches. */
  shows(id: string, expected: object): Promise<void>;
  state(id: string): Promise<readonly StateEntry[]>;
  /** Waits until everything that `agent` sent so far has been taken in. */
  heardAll(agent: FakeAgent): Promise<void>;
  /** Cuts every agent that is still connected. */
  cutAll(): void;
}

/** `control` is asked anew each time, as it may be restarted in between. */
export function clusterRun(control: () => TestControl): ClusterRun {
  const agents: FakeAgent[] = [];
  let marks = 0;
  const post = async (path: string, body: object): Promise<unknown> => {
    const { status, json, text } = await control().api.post(path, body);
    expect([200, 201], text).toContain(status);
    return json;
  };
  const run: ClusterRun = {
    join: async (credentials, fields) => {
      const agent = await FakeAgent.join(control().agentPort, credentials, fields);
      agents.push(agent);
      return agent;
    },
    create: async (primary, fields = {}) =>
      ((await post(DATASETS, { primary, ...fields })) as { dataset_id: string }).dataset_id,
    move: async (id, primary) => void (await post(`${DATASETS}/${id}`, { primary })),
    remove: async (id) => {
      expect((await control().api.delete(`${DATASETS}/${id}`)).status).toBe(200);
    },
    lease: async (id, node, expires) => void (await post(LEASES, { dataset_id: id, node_uuid: node, expires })),
    release: async (id) => {
      expect((await control().api.delete(`${LEASES}/${id}`)).status).toBe(200);
    },
    inspect: async (id) => {
      const { json } = await control().api.get(`/v1/inspect/datasets?dataset_id=${id}`);
      const [inspection] = json as unknown as DatasetInspection[];
      if (inspection === undefined) throw new Error(`dataset ${id} is not known`);
      return inspection;
    },
    shows: async (id, expected) => {
      await expect.poll(() => run.inspect(id), { interval: 5, timeout: 5_000 }).toMatchObject(expected);
    },
    state: async (id) => {
      const { json } = await control().api.get('/v1/state/datasets');
      return (json as unknown as StateEntry[]).filter(({ dataset_id: listed }) => listed === id);
    },
    heardAll: async (agent) => {
      // Messages of one connection are taken in one after the other, so what comes after is seen after.
      const marker = await run.create(agent.nodeId);
      await agent.ordered(marker, 'mounted');
      marks += 1;
      const message = `mark ${marks}`;
      agent.report(marker, { kind: 'absent' }, { problem: { code: 'in_progress', message } });
      await run.shows(marker, { problem: { message } });
    },
    cutAll: () => {
      for (const agent of agents.splice(0)) agent.cut();
    },
  };
  return run;
}
