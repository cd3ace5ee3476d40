import { Command, InvalidArgumentError, Option } from 'commander';
import { candidateLines, completionCommand } from '../completion/completion-command.ts';
import { changeCommands } from './change-commands.ts';
import { clusterWords } from './cluster-words.ts';
import { DEFAULT_CLUSTER_JSON, DEFAULT_CLUSTER_YML, DEFAULT_CONTROL_PORT } from './control-target.ts';
import type { CtlEnvironment } from './ctl-environment.ts';
import { lookCommands } from './look-commands.ts';
import { parsePort } from './parse-port.ts';
import type { GlobalOptions } from './session.ts';

const DEFAULT_TIMEOUT_SECONDS = 120;
/** Timers take a signed 32-bit number of milliseconds. */
const LONGEST_TIMEOUT_SECONDS = 2_000_000;

/** Answers a completion script: `words` are those after the program's name, up to the one that is being typed. */
export function ctlCandidates(
  program: Command,
  words: readonly string[],
  environment: CtlEnvironment,
): Promise<string> {
  return candidateLines(program, words, clusterWords(withGlobalOptions, environment));
}

/** The whole of the program `flockerctl`: the original's commands and flags (contract 6.1), and ours. */
export function ctlCommand(environment: CtlEnvironment): Command {
  const program = withGlobalOptions(new Command('flockerctl'))
    .description('Look at and change the volumes of a Flocker cluster.')
    .version(environment.version)
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => environment.stdout.write(text),
      writeErr: (text) => environment.stderr.write(text),
    });
  lookCommands(program, environment);
  changeCommands(program, environment);
  program.addCommand(completionCommand('flockerctl', environment.stdout));
  program
    .command('version')
    .description('show version information')
    .action(() => {
      const { json } = program.opts<GlobalOptions>();
      const { version, stdout } = environment;
      stdout.write(json === true ? `${JSON.stringify({ flockerctl: version })}\n` : `flockerctl ${version}\n`);
    });
  return program;
}

function withGlobalOptions(program: Command): Command {
  return program
    .option(
      '--cluster <file>',
      `cluster.json of "flocker up" (or FLOCKER_CLUSTER; default: ${DEFAULT_CLUSTER_JSON} when it exists and nothing else is given)`,
    )
    .option(
      '--cluster-yml <file>',
      `cluster.yml, whose first user and directory are the credentials (default: ${DEFAULT_CLUSTER_YML} when it exists)`,
    )
    .option('--certs-path <directory>', 'directory of the certificates (or FLOCKER_CERTS_PATH; default: .)')
    .option('--user <name>', 'whose .crt and .key to use (or FLOCKER_USER; default: user)')
    .option('--cluster-crt <file>', 'certificate of the cluster, in the directory (default: cluster.crt)')
    .option(
      '--control-service <host>',
      'host name or IP address (or FLOCKER_CONTROL_SERVICE; default: what agent.yml in the directory says)',
    )
    .option('--control-port <port>', `port of the REST API (default: ${DEFAULT_CONTROL_PORT})`, parsePort)
    .option('--json', 'print one JSON value')
    .addOption(
      new Option('--timeout <seconds>', 'longest time for the command')
        .argParser(parseTimeout)
        .default(DEFAULT_TIMEOUT_SECONDS),
    );
}

function parseTimeout(text: string): number {
  const seconds = Number(text);
  if (!(seconds > 0 && seconds <= LONGEST_TIMEOUT_SECONDS)) {
    throw new InvalidArgumentError(`It must be a number of seconds, at most ${LONGEST_TIMEOUT_SECONDS}.`);
  }
  return seconds;
}
