import { backendContract } from '../../../../test/contract/backend.ts';

backendContract('directory', {
  section: { backend: 'directory' },
  bytesName: 'data',
  skip: null,
  mountsEndWithTheMachine: false,
  mountedWithoutVolumes: () => [],
  snapshotsAreInstants: false,
});
