/** The word after a program's name by which its completion script asks what comes next. */
export const ASK_WORD = '__complete';

export type Shell = 'bash' | 'zsh';

/**
 * The script that makes a shell complete the words of a program. It asks the program itself, so it never grows stale: one candidate
 * a line, or `:files` or `:directories` for the shell's own.
 */
export function completionScript(shell: Shell, program: string): string {
  return shell === 'bash' ? bashScript(program) : zshScript(program);
}

function bashScript(program: string): string {
  const name = `_${program.replaceAll('-', '_')}`;
  return `# bash completion of ${program}. Put it into /etc/bash_completion.d, or: source <(${program} completion bash)
${name}() {
  local word="\${COMP_WORDS[COMP_CWORD]}" line
  COMPREPLY=()
  while IFS= read -r line; do
    case "$line" in
      :files) mapfile -t COMPREPLY < <(compgen -f -- "$word"); compopt -o filenames 2>/dev/null ;;
      :directories) mapfile -t COMPREPLY < <(compgen -d -- "$word"); compopt -o filenames 2>/dev/null ;;
      "$word"*) COMPREPLY+=("$(printf '%q' "$line")") ;;
    esac
  done < <(${program} ${ASK_WORD} "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F ${name} ${program}
`;
}

function zshScript(program: string): string {
  const name = `_${program.replaceAll('-', '_')}`;
  return `#compdef ${program}
# zsh completion of ${program}. Put it as _${program} into a directory of $fpath, or: source <(${program} completion zsh)
${name}() {
  local -a lines
  lines=("\${(@f)$(${program} ${ASK_WORD} "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  case "\${lines[1]}" in
    :files) _files ;;
    :directories) _files -/ ;;
    *) compadd -a lines ;;
  esac
}
if [ "\${funcstack[1]}" = "${name}" ]; then ${name} "$@"; else compdef ${name} ${program}; fi
`;
}
