import type { Command } from 'commander';

/** Columns of a help text on the page; a terminal's own width would make it differ from machine to machine. */
const HELP_WIDTH = 120;

/** The reference page of the command-line tools: the help text of every command, in the order in which help lists them. */
export function cliPage(programs: readonly Command[]): string {
  const sections = programs.flatMap((program) => commandSections(program, program.name(), 2));
  const intro =
    'What `--help` prints, command by command. This page is generated from the code: run `npm run docs` after changing a command.';
  return `# Command-line tools\n\n${intro}\n\n${sections.join('\n')}`;
}

function commandSections(command: Command, path: string, level: number): string[] {
  const own = `${'#'.repeat(level)} ${path}\n\n\`\`\`text\n${helpText(command)}\n\`\`\`\n`;
  const children = command.commands.flatMap((child) => commandSections(child, `${path} ${child.name()}`, 3));
  return [own, ...children];
}

function helpText(command: Command): string {
  let text = '';
  command.configureOutput({
    writeOut: (part) => {
      text += part;
    },
    getOutHelpWidth: () => HELP_WIDTH,
    getOutHasColors: () => false,
  });
  command.outputHelp();
  return text.trimEnd();
}
