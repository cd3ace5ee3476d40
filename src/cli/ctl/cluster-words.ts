import { Command } from 'commander';
import { nameOf } from '../../model/dataset.ts';
import type { AskCluster } from '../completion/completion-command.ts';
import { controlTarget } from './control-target.ts';
import type { CtlEnvironment } from './ctl-environment.ts';
import { type GlobalOptions } from './session.ts';

/** Somebody waits with a finger on the Tab key. */
const TIMEOUT_MS = 2_000;

/**
 * Names for completion: of volumes (ids where there is none), nodes, snapshots. Where the control service is comes from the same options,
 * files and variables as for the command that is being typed. Empty when that cannot be found or does not answer in time.
 */
export function clusterWords(
  withGlobalOptions: (command: Command) => Command,
  environment: CtlEnvironment,
): AskCluster {
  return async (kind, words) => {
    try {
      const options = globalOptions(withGlobalOptions(new Command()), words);
      const client = await environment.connect(await controlTarget(options, environment));
      try {
        const signal = AbortSignal.timeout(TIMEOUT_MS);
        if (kind === 'nodes') return (await client.listNodes(signal)).map(({ host }) => host);
        if (kind === 'snapshots') {
          const snapshots = await client.listSnapshots({}, signal);
          return snapshots.map(({ metadata, snapshot_id }) => nameOf(metadata) ?? snapshot_id);
        }
        const { datasets } = await client.listDatasets(signal);
        const present = datasets.filter(({ deleted }) => !deleted);
        return present.map(({ metadata, dataset_id }) => nameOf(metadata) ?? dataset_id);
      } finally {
        await client.close();
      }
    } catch {
      return [];
    }
  };
}

function globalOptions(command: Command, words: readonly string[]): Omit<GlobalOptions, 'json' | 'timeout'> {
  const quiet = command.exitOverride().configureOutput({ writeErr: () => undefined });
  quiet.parseOptions([...words.slice(0, -1)]);
  const { json: _, timeout: __, ...target } = quiet.opts<GlobalOptions>();
  return target;
}
