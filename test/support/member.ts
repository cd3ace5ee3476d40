import type { Hello, Report } from '../../src/api/agent-channel.ts';
import type { ClusterRun } from './cluster-run.ts';
import { type FakeAgent, mountedState, type NodeCredentials } from './fake-agent.ts';

/** A node of a test cluster: its volumes outlive its connections, as they do on a machine. */
export class Member {
  readonly credentials: NodeCredentials;
  readonly #cluster: ClusterRun;
  readonly #fields: Partial<Hello>;
  readonly #states = new Map<string, Report['state']>();
  #agent: FakeAgent;

  private constructor(cluster: ClusterRun, credentials: NodeCredentials, fields: Partial<Hello>, agent: FakeAgent) {
    this.#cluster = cluster;
    this.credentials = credentials;
    this.#fields = fields;
    this.#agent = agent;
  }

  static async start(cluster: ClusterRun, credentials: NodeCredentials, fields: Partial<Hello> = {}): Promise<Member> {
    return new Member(cluster, credentials, fields, await cluster.join(credentials, fields));
  }

  get id(): string {
    return this.credentials.nodeId;
  }

  get agent(): FakeAgent {
    return this.#agent;
  }

  /** The volume gets into a state, and that is reported under the present order. */
  becomes(datasetId: string, kind: Report['state']['kind'], fields: Partial<Report> = {}): void {
    const state = stateOf(datasetId, kind);
    this.#states.set(datasetId, state);
    this.#agent.report(datasetId, state, fields);
  }

  /** Does what it is ordered to and reports it. */
  async mounts(datasetId: string): Promise<void> {
    await this.#agent.ordered(datasetId, 'mounted');
    this.becomes(datasetId, 'mounted');
  }

  async releases(datasetId: string): Promise<void> {
    await this.#agent.ordered(datasetId, 'released');
    this.becomes(datasetId, 'detached');
  }

  async destroys(datasetId: string): Promise<void> {
    await this.#agent.ordered(datasetId, 'destroyed');
    this.becomes(datasetId, 'absent');
  }

  /** Connects anew with a hello that lists what is attached or mounted here. */
  async rejoin(): Promise<void> {
    const has = [...this.#states]
      .filter(([, { kind }]) => kind === 'attached' || kind === 'mounted')
      .map(([datasetId, state]) => ({ datasetId, order: 0, busy: false, state, problem: null }));
    this.#agent = await this.#cluster.join(this.credentials, { ...this.#fields, has });
  }
}

function stateOf(datasetId: string, kind: Report['state']['kind']): Report['state'] {
  const sizeBytes = 2 ** 30;
  switch (kind) {
    case 'absent':
      return { kind };
    case 'elsewhere':
      return { kind, instance: 'another machine' };
    case 'mounted':
      return mountedState(datasetId, sizeBytes);
    case 'attached':
    case 'detached':
      return { kind, sizeBytes };
  }
}
