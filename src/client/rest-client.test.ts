import { flockerClientContract } from '../../test/contract/flocker-client.ts';
import { fakeFlocker } from './testing/fake-flocker.ts';
import { testClient, testCluster } from './testing/https-listener.ts';
import { serveFake } from './testing/serve-fake.ts';

for (const additions of [true, false]) {
  flockerClientContract(`HTTPS to a server ${additions ? 'with' : 'without'} additions`, { additions }, async () => {
    const { control, user } = await testCluster();
    const fake = fakeFlocker({ additions });
    const server = await serveFake(fake, control, additions);
    const client = testClient([server.url], user);
    return {
      client,
      addNode: () => Promise.resolve(fake.addNode()),
      eraOf: (node) => fake.cluster.eraOf(node),
      close: async () => {
        await client.close();
        await server.close();
        fake.close();
      },
    };
  });
}
