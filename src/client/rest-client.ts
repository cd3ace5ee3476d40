import type { DatasetConfiguration, DatasetState } from '../api/datasets.ts';
import type { DatasetInspection } from '../api/inspection.ts';
import type { LeaseBody } from '../api/leases.ts';
import type { NodeInspection, NodeState } from '../api/nodes.ts';
import { FIND_NAME_HEADER, FOUND_HEADER, PATHS, TAG_HEADER } from '../api/paths.ts';
import { type DatasetId, type NodeId, parseNodeId } from '../kit/ids.ts';
import { nameOf } from '../model/dataset.ts';
import { bodyOf } from './answers.ts';
import { conditionHeaders, encodedName } from './conditions.ts';
import type { EventWatch } from './event-watch.ts';
import {
  ClientError,
  type Condition,
  type FlockerClient,
  type FoundDatasets,
  type LeaseRequest,
  type MountedDataset,
  type NewDataset,
} from './flocker-client.ts';
import type { Https, HttpsAnswer, HttpsRequest } from './https.ts';
import { goneIn, mountedIn, mountsAmong } from './judgements.ts';
import { onChange } from './passing.ts';
import { DATASET_EVENTS, SHAPES, type Shape } from './shapes.ts';
import type { StatePolling } from './state-polling.ts';

interface RestClientParts {
  readonly https: Https;
  readonly watch: EventWatch;
  readonly polling: StatePolling;
}

/** {@link FlockerClient} over HTTPS. */
export class RestClient implements FlockerClient {
  readonly #https: Https;
  readonly #watch: EventWatch;
  readonly #polling: StatePolling;
  #additions: boolean | undefined;

  constructor(parts: RestClientParts) {
    this.#https = parts.https;
    this.#watch = parts.watch;
    this.#polling = parts.polling;
  }

  async version(signal: AbortSignal): Promise<string> {
    return (await this.#get(PATHS.version, SHAPES.version, signal)).flocker;
  }

  async hasAdditions(signal: AbortSignal): Promise<boolean> {
    if (this.#additions !== undefined) return this.#additions;
    const answer = await this.#https.request({ method: 'GET', path: PATHS.inspectNodes }, signal);
    // Flocker answers an unknown path with 404 and a page of HTML.
    const html = String(answer.headers['content-type']).startsWith('text/html');
    const foreign = answer.status === 404 || (answer.status < 500 && html);
    if (!foreign) bodyOf(answer, [200], SHAPES.anyArray, `GET ${PATHS.inspectNodes}`);
    this.#additions = !foreign;
    return !foreign;
  }

  async listDatasets(signal: AbortSignal): Promise<{ datasets: DatasetConfiguration[]; tag: string | undefined }> {
    const answer = await this.#https.request({ method: 'GET', path: PATHS.configurationDatasets }, signal);
    const datasets = bodyOf(answer, [200], SHAPES.datasets, `GET ${PATHS.configurationDatasets}`);
    const tag = answer.headers[TAG_HEADER];
    return { datasets, tag: typeof tag === 'string' ? tag : tag?.[0] };
  }

  async findByName(name: string, signal: AbortSignal): Promise<FoundDatasets> {
    if (await this.hasAdditions(signal)) {
      const path = `${PATHS.inspectDatasets}?${new URLSearchParams({ name }).toString()}`;
      return foundAmong(await this.#get(path, SHAPES.inspections, signal), name);
    }
    const { datasets, tag } = await this.listDatasets(signal);
    return {
      datasets: datasets.filter((dataset) => isNamed(dataset, name)),
      mounted: new Map(),
      ifUnchanged: tag === undefined ? { kind: 'none' } : { kind: 'tag', tag },
    };
  }

  async createDataset(dataset: NewDataset, condition: Condition, signal: AbortSignal): Promise<DatasetConfiguration> {
    // A server without the addition would ignore the header and create a second dataset of the name.
    if (condition.kind === 'nameUnused' && !(await this.hasAdditions(signal))) {
      throw new ClientError('bad_request', `This server cannot make a dataset only if the name is unused; use a tag`);
    }
    if (dataset.sourceSnapshot !== undefined && !(await this.hasAdditions(signal))) {
      throw new ClientError('not_supported', 'This server has no snapshots to make a dataset from');
    }
    const body = {
      primary: dataset.primary,
      ...(dataset.datasetId === undefined ? {} : { dataset_id: dataset.datasetId }),
      ...(dataset.maximumSizeBytes === undefined ? {} : { maximum_size: dataset.maximumSizeBytes }),
      metadata: dataset.metadata,
      ...(dataset.sourceSnapshot === undefined ? {} : { source_snapshot: dataset.sourceSnapshot }),
    };
    const headers = conditionHeaders(condition, 'create');
    const request: HttpsRequest = { method: 'POST', path: PATHS.configurationDatasets, headers, body };
    return this.#ask(request, [201], SHAPES.dataset, signal);
  }

  async moveDataset(
    id: DatasetId,
    primary: NodeId,
    condition: Condition,
    signal: AbortSignal,
  ): Promise<DatasetConfiguration> {
    return this.#change({ method: 'POST', path: datasetPath(id), body: { primary } }, condition, signal);
  }

  async deleteDataset(id: DatasetId, condition: Condition, signal: AbortSignal): Promise<DatasetConfiguration> {
    // A server without the addition would ignore the header and delete a dataset that is in use.
    if (condition.kind === 'unleased' && !(await this.hasAdditions(signal))) {
      throw new ClientError('bad_request', 'This server cannot delete a dataset only if it has no lease');
    }
    const headers = conditionHeaders(condition, 'delete');
    return this.#ask({ method: 'DELETE', path: datasetPath(id), headers }, [200], SHAPES.dataset, signal);
  }

  listDatasetStates(signal: AbortSignal): Promise<DatasetState[]> {
    return this.#polling.states(signal);
  }

  listNodes(signal: AbortSignal): Promise<NodeState[]> {
    return this.#get(PATHS.stateNodes, SHAPES.nodes, signal);
  }

  async inspectDatasets(signal: AbortSignal): Promise<DatasetInspection[] | undefined> {
    if (!(await this.hasAdditions(signal))) return undefined;
    return this.#get(PATHS.inspectDatasets, SHAPES.inspections, signal);
  }

  async inspectDataset(id: DatasetId, signal: AbortSignal): Promise<DatasetInspection | undefined> {
    if (!(await this.hasAdditions(signal)))
      throw new ClientError('not_supported', 'This server cannot show one dataset only; list them all');
    const path = `${PATHS.inspectDatasets}?${new URLSearchParams({ dataset_id: id }).toString()}`;
    const found = await this.#get(path, SHAPES.inspections, signal);
    return found.find(({ configuration }) => configuration.dataset_id.toLowerCase() === id);
  }

  async inspectNodes(signal: AbortSignal): Promise<NodeInspection[] | undefined> {
    if (!(await this.hasAdditions(signal))) return undefined;
    return this.#get(PATHS.inspectNodes, SHAPES.nodeInspections, signal);
  }

  async nodeByEra(era: string, signal: AbortSignal): Promise<NodeId> {
    const path = `${PATHS.nodesByEra}/${encodeURIComponent(era)}`;
    const { uuid } = await this.#get(path, SHAPES.nodeByEra, signal);
    const node = parseNodeId(uuid);
    if (node === undefined) throw new ClientError('unexpected_answer', `GET ${path}: "${uuid}" is no node`);
    return node;
  }

  listLeases(signal: AbortSignal): Promise<LeaseBody[]> {
    return this.#get(PATHS.leases, SHAPES.leases, signal);
  }

  async acquireLease(lease: LeaseRequest, signal: AbortSignal): Promise<void> {
    await this.#lease(lease, {}, signal);
  }

  async acquireLeaseAndFind(
    lease: LeaseRequest,
    name: string,
    signal: AbortSignal,
  ): Promise<FoundDatasets | undefined> {
    const found = await this.#lease(lease, { [FIND_NAME_HEADER]: encodedName(name) }, signal);
    if (typeof found !== 'string') return undefined;
    const answer = { url: 'the answer to a lease', status: 200, text: found };
    return foundAmong(bodyOf(answer, [200], SHAPES.inspections, `header ${FOUND_HEADER}`), name);
  }

  async releaseLease(id: DatasetId, signal: AbortSignal): Promise<void> {
    await this.#ask({ method: 'DELETE', path: `${PATHS.leases}/${id}` }, [200], SHAPES.lease, signal);
  }

  async waitUntilMounted(
    id: DatasetId,
    nodeId: NodeId,
    onProblem: (message: string) => void,
    signal: AbortSignal,
  ): Promise<MountedDataset> {
    const tell = onChange(onProblem);
    const judge = mountedIn(id, nodeId, tell);
    if (!(await this.#additionsOnceReached(tell, signal))) return this.#polling.until(judge.states, tell, signal);
    const query = { dataset_id: id, until: 'mounted', node_uuid: nodeId };
    return this.#watch.until(query, DATASET_EVENTS, judge.inspection, tell, signal);
  }

  async waitUntilGone(id: DatasetId, signal: AbortSignal): Promise<void> {
    const ignore = (): void => undefined;
    const judge = goneIn(id);
    if (!(await this.#additionsOnceReached(ignore, signal))) {
      await this.#polling.until(judge.states, ignore, signal);
      return;
    }
    try {
      await this.#watch.until({ dataset_id: id, until: 'gone' }, DATASET_EVENTS, judge.inspection, ignore, signal);
    } catch (error) {
      // Nothing of it is left to wait for.
      if (!(error instanceof ClientError && error.code === 'not_found')) throw error;
    }
  }

  close(): Promise<void> {
    return this.#https.close();
  }

  /** A wait outlives a restart of the control service also when it is the first thing asked. */
  async #additionsOnceReached(onProblem: (message: string) => void, signal: AbortSignal): Promise<boolean> {
    if (this.#additions !== undefined) return this.#additions;
    return this.#watch.untilReached(() => this.hasAdditions(signal), onProblem, signal);
  }

  async #lease(lease: LeaseRequest, headers: HttpsRequest['headers'], signal: AbortSignal): Promise<unknown> {
    const body = { dataset_id: lease.datasetId, node_uuid: lease.nodeId, expires: lease.expiresSeconds };
    const request: HttpsRequest = { method: 'POST', path: PATHS.leases, body, ...(headers && { headers }) };
    const answer = await this.#https.request(request, signal);
    bodyOf(answer, [200, 201], SHAPES.lease, `POST ${PATHS.leases}`);
    return answer.headers[FOUND_HEADER];
  }

  #change(request: HttpsRequest, condition: Condition, signal: AbortSignal): Promise<DatasetConfiguration> {
    return this.#ask({ ...request, headers: conditionHeaders(condition, 'change') }, [200], SHAPES.dataset, signal);
  }

  #get<T>(path: string, shape: Shape<T>, signal: AbortSignal): Promise<T> {
    return this.#ask({ method: 'GET', path }, [200], shape, signal);
  }

  async #ask<T>(request: HttpsRequest, successes: readonly number[], shape: Shape<T>, signal: AbortSignal): Promise<T> {
    const answer: HttpsAnswer = await this.#https.request(request, signal);
    return bodyOf(answer, successes, shape, `${request.method} ${request.path}`);
  }
}

function isNamed(dataset: DatasetConfiguration, name: string): boolean {
  return !dataset.deleted && nameOf(dataset.metadata) === name;
}

function foundAmong(inspections: readonly DatasetInspection[], name: string): FoundDatasets {
  const datasets = inspections.map(({ configuration }) => configuration).filter((one) => isNamed(one, name));
  return { datasets, mounted: mountsAmong(inspections), ifUnchanged: { kind: 'nameUnused', name } };
}

function datasetPath(id: DatasetId): string {
  return `${PATHS.configurationDatasets}/${id}`;
}
