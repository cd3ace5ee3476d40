import { Argument, Command } from 'commander';
import { type Completion, complete } from './complete.ts';
import { completionScript, type Shell } from './scripts.ts';

/** Names that only the cluster knows; empty when it cannot be asked. */
export type AskCluster = (
  kind: 'datasets' | 'nodes' | 'snapshots',
  words: readonly string[],
) => Promise<readonly string[]>;

/** `completion bash|zsh`, for any program. */
export function completionCommand(program: string, stdout: { write(text: string): unknown }): Command {
  return new Command('completion')
    .description('print the script that makes your shell complete commands, options, volumes and nodes')
    .addArgument(new Argument('<shell>', 'of which shell').choices(['bash', 'zsh']))
    .addHelpText(
      'after',
      `\nExamples:\n  source <(${program} completion bash)\n  ${program} completion bash > /etc/bash_completion.d/${program}\n  ${program} completion zsh > /usr/local/share/zsh/site-functions/_${program}\n`,
    )
    .action((shell: Shell) => {
      stdout.write(completionScript(shell, program));
    });
}

/** What the completion script is answered: one candidate a line. */
export async function candidateLines(program: Command, words: readonly string[], ask: AskCluster): Promise<string> {
  const lines = await linesOf(complete(program, words), words, ask);
  return lines.map((line) => `${line}\n`).join('');
}

async function linesOf(completion: Completion, words: readonly string[], ask: AskCluster): Promise<readonly string[]> {
  switch (completion.kind) {
    case 'words':
      return completion.words.filter((word) => word.startsWith(words.at(-1) ?? ''));
    case 'files':
    case 'directories':
      return [`:${completion.kind}`];
    case 'datasets':
    case 'nodes':
    case 'snapshots':
      return (await ask(completion.kind, words)).filter((word) => word.startsWith(words.at(-1) ?? ''));
  }
}
