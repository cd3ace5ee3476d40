import { isIP } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { httpsUrls, splitHosts } from '../../kit/host-names.ts';
import type { CredentialPaths } from '../../tls/file-names.ts';
import { AUTHORITY_CERTIFICATE } from '../../tls/file-names.ts';
import { readAgentYml, readClusterJson, readClusterYml } from './cluster-files.ts';
import { CtlError } from './ctl-error.ts';
import { fileExists } from './read-if-there.ts';

/** The control services of a cluster and the credentials for them. */
export interface ControlTarget {
  readonly urls: readonly string[];
  readonly credentials: CredentialPaths;
}

/** Global options that were given; what was not given is absent. */
export interface TargetOptions {
  readonly cluster?: string;
  readonly clusterYml?: string;
  readonly certsPath?: string;
  readonly user?: string;
  readonly clusterCrt?: string;
  readonly controlService?: string;
  readonly controlPort?: number;
}

interface Surroundings {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export const DEFAULT_CONTROL_PORT = 4523;
export const DEFAULT_CLUSTER_YML = './cluster.yml';
export const DEFAULT_CLUSTER_JSON = '.flocker/cluster.json';

/** Finds the control service as the original does (contract 6.1), or in the `cluster.json` of a local cluster. */
export async function controlTarget(options: TargetOptions, surroundings: Surroundings): Promise<ControlTarget> {
  const clusterJson = await chosenClusterJson(options, surroundings);
  return clusterJson === undefined ? originalTarget(options, surroundings) : localTarget(clusterJson);
}

/** What is said explicitly wins over the environment, and that over what lies in the current directory. */
async function chosenClusterJson(options: TargetOptions, { cwd, env }: Surroundings): Promise<string | undefined> {
  if (options.cluster !== undefined) return resolve(cwd, options.cluster);
  if (Object.values(options).some((value) => value !== undefined)) return undefined;
  const named = env['FLOCKER_CLUSTER'] ?? '';
  if (named !== '') return resolve(cwd, named);
  if (env['FLOCKER_CERTS_PATH'] || env['FLOCKER_USER'] || env['FLOCKER_CONTROL_SERVICE']) return undefined;
  if (await fileExists(resolve(cwd, DEFAULT_CLUSTER_YML))) return undefined;
  const path = resolve(cwd, DEFAULT_CLUSTER_JSON);
  return (await fileExists(path)) ? path : undefined;
}

async function localTarget(path: string): Promise<ControlTarget> {
  const { control, tls } = await readClusterJson(path);
  const directory = dirname(path);
  return {
    urls: [control.url, ...(control.other_urls ?? [])],
    credentials: {
      ca: resolve(directory, tls.ca),
      cert: resolve(directory, tls.cert),
      key: resolve(directory, tls.key),
    },
  };
}

async function originalTarget(options: TargetOptions, { cwd, env }: Surroundings): Promise<ControlTarget> {
  const ymlPath = resolve(cwd, options.clusterYml ?? DEFAULT_CLUSTER_YML);
  // A cluster.yml that just lies there must not name the user of certificates that lie elsewhere.
  const passedOver = options.clusterYml === undefined && options.certsPath !== undefined;
  const yml = passedOver ? undefined : await readClusterYml(ymlPath);
  if (yml === undefined && options.clusterYml !== undefined) {
    throw new CtlError('bad_file', `There is no file ${ymlPath}: give another --cluster-yml.`);
  }
  const certsPath = options.certsPath ?? (yml === undefined ? env['FLOCKER_CERTS_PATH'] || '.' : dirname(ymlPath));
  const directory = resolve(cwd, certsPath);
  const user = options.user ?? yml?.users?.[0] ?? (env['FLOCKER_USER'] || 'user');
  const { hosts, port } = await controlAddress(options, env, directory, yml?.control_node);
  return {
    urls: httpsUrls(hosts, port),
    credentials: {
      ca: resolve(directory, options.clusterCrt ?? AUTHORITY_CERTIFICATE),
      cert: resolve(directory, `${user}.crt`),
      key: resolve(directory, `${user}.key`),
    },
  };
}

async function controlAddress(
  options: TargetOptions,
  env: Surroundings['env'],
  directory: string,
  controlNode: string | undefined,
): Promise<{ hosts: readonly string[]; port: number }> {
  const port = options.controlPort ?? DEFAULT_CONTROL_PORT;
  const given = options.controlService ?? env['FLOCKER_CONTROL_SERVICE'] ?? '';
  if (given !== '') return { hosts: checkedHosts(given), port };
  const agentYml = join(directory, 'agent.yml');
  const control = (await readAgentYml(agentYml))?.['control-service'];
  if (control !== undefined) {
    return { hosts: checkedHosts(control.hostname), port: options.controlPort ?? control['rest-port'] ?? port };
  }
  if (controlNode !== undefined) return { hosts: checkedHosts(controlNode), port };
  throw new CtlError(
    'no_control_service',
    `Where is the control service? Give --control-service HOST, or --cluster FILE for a cluster of "flocker up"; ` +
      `there is no ${agentYml} that says it.`,
  );
}

function checkedHosts(text: string): readonly string[] {
  const hosts = splitHosts(text);
  const wrong = hosts.find((host) => isIP(host) === 0 && !/^[A-Za-z0-9._-]+$/.test(host));
  if (wrong === undefined && hosts.length > 0) return hosts;
  throw new CtlError(
    'no_control_service',
    `${JSON.stringify(wrong ?? text)} is no host name or IP address of a control service; give the port with --control-port.`,
  );
}
