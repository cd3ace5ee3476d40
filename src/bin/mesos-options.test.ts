import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { type MesosFlags, mesosOptions, readMesosOptions } from './mesos-options.ts';

const MASTER = { mesosMaster: 'http://10.0.0.1:5050' };

it('takes several masters, and counts gone agents unless told otherwise', () => {
  expect(mesosOptions({})).toBeUndefined();
  expect(mesosOptions({ mesosMaster: 'http://a:5050, https://b.example.com:5050/' })).toMatchObject({
    ...{ urls: ['http://a:5050', 'https://b.example.com:5050'], fence: 'gone' },
  });
  expect(mesosOptions({ ...MASTER, mesosFence: 'unreachable' })?.fence).toBe('unreachable');
});

it.each<[string, MesosFlags]>([
  ['--mesos-master', { mesosCa: '/ca.pem' }],
  ['--mesos-master', { mesosFence: 'gone' }],
  ['both', { ...MASTER, mesosCredential: '/a', mesosTokenFile: '/b' }],
  ['zk://', { mesosMaster: 'zk://10.0.0.1:2181/mesos' }],
  ['10.0.0.1:5050', { mesosMaster: '10.0.0.1:5050' }],
  ['/mesos', { mesosMaster: 'http://10.0.0.1:5050/mesos' }],
  ['user', { mesosMaster: 'http://user:secret@10.0.0.1:5050' }],
  ['""', { mesosMaster: 'http://10.0.0.1:5050,' }],
])('says %s of options that do not work', (said, flags) => {
  expect(() => mesosOptions(flags)).toThrow(said);
});

it('reads the files, and says which it cannot read', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'mesos-options-'));
  const [credential, ca] = [join(directory, 'credential'), join(directory, 'ca.pem')];
  await writeFile(credential, '{"principal": "flocker", "secret": "s3cret"}');
  await writeFile(ca, 'PEM');
  const options = mesosOptions({ ...MASTER, mesosCredential: credential, mesosCa: ca });
  expect(options && (await readMesosOptions(options))).toEqual({
    urls: ['http://10.0.0.1:5050'],
    authorization: `Basic ${Buffer.from('flocker:s3cret').toString('base64')}`,
    ca: 'PEM',
  });
  await rm(directory, { recursive: true });
  await expect(options && readMesosOptions(options)).rejects.toMatchObject({
    code: 'bad_mesos',
    message: expect.stringContaining(credential) as string,
  });
});
