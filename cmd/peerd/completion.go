package main

import "github.com/urfave/cli/v2"

func newCompletion(e *env) *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print the completion script for a shell",
		UsageText: "peerd completion bash|zsh|fish",
		Description: `Prints a script that lets the shell complete commands, options, and the names of peers, shares and remote files.

Examples:
  peerd completion bash > ~/.local/share/bash-completion/completions/peerd
  peerd completion zsh > "${fpath[1]}/_peerd"
  peerd completion fish > ~/.config/fish/completions/peerd.fish`,
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 1, 1)
			if err != nil {
				return err
			}
			switch args[0] {
			case "bash":
				e.Text(bashCompletion)
			case "zsh":
				e.Text(zshCompletion)
			case "fish":
				e.Text(fishCompletion)
			default:
				return usage(c, "there is no script for %q, only for bash, zsh, fish", args[0])
			}
			return nil
		},
	}
}

// Other people choose the names that are completed, so every script quotes them: a file called $(reboot) must not reach a
// command line as it is. Without candidates the shells complete local files.

const bashCompletion = `# bash completion for peerd
_peerd() {
    local word rest i line=$COMP_LINE cut= words=()
    COMPREPLY=()
    for ((i = 0; i <= COMP_CWORD; i++)); do # bash cuts words at @ and :, and only the line tells where blanks are
        word=${COMP_WORDS[i]}
        rest=${line#"${line%%[![:space:]]*}"}
        if [[ $i -gt 0 && $rest == "$line" ]]; then
            words[${#words[@]}-1]+=$word
        else
            words+=("$word")
        fi
        line=${rest#"$word"}
    done
    word=${words[${#words[@]}-1]}
    if [[ $word != "${COMP_WORDS[COMP_CWORD]}" ]]; then
        cut=${word%"${word##*[@:]}"} # what stands before the cut is not replaced
    fi
    while IFS= read -r word; do
        COMPREPLY+=("$(printf '%q' "${word#"$cut"}")")
    done < <("${COMP_WORDS[0]}" __complete bash "${words[@]:1}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == */ ]]; then
        compopt -o nospace
    fi
}
complete -o default -F _peerd peerd
`

const zshCompletion = `#compdef peerd
_peerd() {
    local -a found
    found=("${(@f)$("${words[1]}" __complete zsh "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then
        compadd -S '' -- ${(M)found:#*/}
        compadd -- ${found:#*/}
    else
        _files
    fi
}
if [[ "${funcstack[1]}" == _peerd ]]; then
    _peerd "$@"
else
    compdef _peerd peerd
fi
`

const fishCompletion = `# fish completion for peerd
function __peerd_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($words[1] __complete fish $words[2..] "$current" 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path "$current"
    end
end
complete -c peerd -f -a '(__peerd_complete)'
`
