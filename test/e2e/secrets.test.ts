import { readFile, stat } from 'node:fs/promises';
import { request } from 'node:http';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writable } from '../../src/frontends/csi/testing/csi-bench.ts';
import { csiClient } from '../../src/frontends/csi/testing/csi-client.ts';
import { callIsolator } from '../../src/frontends/isolator/testing/isolator-bench.ts';
import { type Program, start } from './support/program.ts';
import { agentAnswers, UpCluster } from './support/up.ts';

const SECRET = 'hunter2-never-to-be-seen';

/** The daemons of a cluster, started one by one with every log line that they have. */
describe('daemons at log level debug', () => {
  let cluster: UpCluster;
  let daemons: readonly Program[];
  beforeAll(async () => {
    cluster = await UpCluster.start('--backend', 'directory');
    await cluster.stop();
    const { control } = await cluster.json();
    const { agents_url: agentsUrl, url } = control;
    const [rest, agents] = [url, agentsUrl].map((one) => `tcp:${new URL(one).port}:interface=127.0.0.1`);
    const directory = join(cluster.directory, 'control');
    const where = ['--data-path', join(directory, 'data'), '--certificates-directory', directory];
    const listen = ['--port', rest ?? '', '--agent-port', agents ?? ''];
    const level = ['--log-level', 'debug'];
    const yml = join(cluster.directory, 'node1', 'agent.yml');
    daemons = [
      start('flocker', ['control', ...where, ...listen, ...level], cluster.scratch.env),
      start('flocker', ['agent', '--agent-config', yml, ...level], cluster.scratch.env),
    ];
    const { nodes } = await cluster.json();
    await agentAnswers(nodes[0]?.socket ?? '');
  });
  afterAll(() => cluster.remove());

  it('say nothing that is secret, whatever they are asked', async () => {
    const { nodes, tls } = await cluster.json();
    const [node] = nodes;
    if (node === undefined) throw new Error('the cluster has no node');
    expect(await cluster.run(1, '-v', 'kept:/mnt', '--', 'env', `PASSWORD=${SECRET}`, 'true').ended).toMatchObject({
      status: 0,
    });
    const csi = csiClient(node.csi);
    const secrets = { password: SECRET };
    const wish = { volumeCapabilities: [writable()], secrets };
    await csi.controller.createVolume({ name: 'secret-csi', ...wish });
    await csi.controller.createVolume({ name: '', ...wish }).catch(() => undefined);
    csi.close();
    const environment = {
      variables: [
        { name: 'PASSWORD', value: SECRET },
        { name: 'FLOCKER_ID', value: 'x' },
      ],
    };
    const config = { directory: cluster.directory, command_info: { environment } };
    await callIsolator(node.isolator, 'prepare', { container_id: { value: 'c' }, container_config: config });
    await callIsolator(node.isolator, 'prepare', `{"password": "${SECRET}"`);
    await docker(node.docker, 'Create', { Name: 'secret-docker', Opts: { password: SECRET } });
    await docker(node.docker, 'Create', { Name: 'secret-docker-2', Opts: { size: SECRET } });
    const { status } = await (await cluster.api()).get('/v1/version', [['authorization', `Bearer ${SECRET}`]]);
    expect(status).toBe(200);

    for (const daemon of daemons) daemon.kill('SIGTERM');
    const said = (await Promise.all(daemons.map(({ ended }) => ended))).map(({ stdout, stderr }) => stdout + stderr);
    const text = said.join('\n');
    expect(text).toContain('"level":20');
    const keys = await Promise.all(
      [
        join(cluster.directory, 'node1', 'node.key'),
        join(cluster.directory, 'node1', 'plugin.key'),
        join(cluster.directory, 'control', 'control-service.key'),
        join(cluster.directory, 'certificates', 'cluster.key'),
        tls.key,
      ].map((path) => readFile(path, 'utf8')),
    );
    const lines = keys
      .flatMap((key) => key.split('\n'))
      .filter((line) => line.length > 20 && !line.startsWith('-----'));
    expect(lines.length).toBeGreaterThan(4);
    for (const secret of [...lines, 'PRIVATE KEY', 'Bearer', SECRET]) expect(text).not.toContain(secret);
  });

  it('left sockets and files with the modes that the documents promise', async () => {
    const { tls } = await cluster.json();
    await cluster.up();
    const { nodes } = await cluster.json();
    const [node] = nodes;
    if (node === undefined) throw new Error('the cluster has no node');
    const modes = async (paths: readonly string[]): Promise<string[]> =>
      Promise.all(paths.map(async (path) => ((await stat(path)).mode & 0o777).toString(8)));
    const control = join(cluster.directory, 'control');
    const keys = [tls.key, join(control, 'control-service.key'), join(cluster.directory, 'node1', 'node.key')];
    const sockets = [node.socket, node.isolator, node.docker, node.csi];
    const logs = [join(cluster.directory, 'logs', 'control.log')];
    for (const mode of await modes([...keys, ...sockets, ...logs])) expect(mode).toBe('600');
    const directories = [dirname(node.socket), join(control, 'data'), join(control, 'data', 'store')];
    for (const mode of await modes(directories)) expect(mode).toBe('700');
  });
});

function docker(socketPath: string, call: string, body: object): Promise<void> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, method: 'POST', path: `/VolumeDriver.${call}` }, (response) => {
      response.resume();
      response.on('end', resolve);
    });
    sent.on('error', reject);
    sent.end(JSON.stringify(body));
  });
}
