# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_tracemark_global_optspecs
    string join \n socket= h/help V/version
end

function __fish_tracemark_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_tracemark_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_tracemark_using_subcommand
    set -l cmd (__fish_tracemark_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c tracemark -n "__fish_tracemark_needs_command" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_needs_command" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_needs_command" -s V -l version -d 'Print version'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "up" -d 'Track this repository: checks, hooks, daemon, first version'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "down" -d 'Stop tracking this repository and take everything back'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "status" -d 'Show daemon, store and every tracked worktree'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "hash" -d 'Print the repository hash; needs no daemon, no store, no network'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "active" -d 'Print the model id of the code on disk now'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "env" -d 'Print the variables for `eval "$(tracemark env)"`'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "exec" -d 'Run a command with the right model id in its environment'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "params" -d 'Show or change the parameters of versions'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "pin" -d 'Use one version, found by its name, whatever the code'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "unpin" -d 'Go back to the version of the code'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "restore" -d 'Bring the exact code of a version back, into a new directory'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "show" -d 'Show one version, or one file of it'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "diff" -d 'Show the code between two versions'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "log" -d 'List the versions of this repository, newest first'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "gc" -d 'Remove versions that nothing refers to; shows them first'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "demo" -d 'A guided tour on a throw-away repository'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "daemon" -d 'Run the daemon in the foreground'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "service" -d 'Have systemd run the daemon: at login, and again after a crash'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "doctor" -d 'Look for every known trouble, and say what to type'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "config" -d 'Show the settings, and where each comes from'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "watch" -d 'Follow this worktree: version, changed files, model id, as one edits'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "prompt" -d 'Print a few letters for a shell\'s prompt, at once; nothing where nothing is tracked'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "completions" -d 'Print the completions for a shell'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "man" -d 'Print a manual page'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "hook" -d 'Called by git\'s hooks'
complete -c tracemark -n "__fish_tracemark_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tracemark -n "__fish_tracemark_using_subcommand up" -l store -d 'The MLflow tracking URI, instead of MLFLOW_TRACKING_URI or MLflow\'s default' -r
complete -c tracemark -n "__fish_tracemark_using_subcommand up" -l experiment -d 'The experiment\'s name, created if absent' -r
complete -c tracemark -n "__fish_tracemark_using_subcommand up" -l allow-http-credentials -d 'Send a password or token over plain http to another machine (=false takes that back)' -r -f -a "true\t''
false\t''"
complete -c tracemark -n "__fish_tracemark_using_subcommand up" -l naming -d 'How LoggedModels are named' -r -f -a "git-hash\t'Exactly what the guide\'s get_current_git_hash() returns'
commit\t'{app}-git-{8 hex}, as step 2 of the guide'
tree\t'{app}-tree-{12 hex}: the same code, the same name'"
complete -c tracemark -n "__fish_tracemark_using_subcommand up" -l app -d 'The app\'s name, for the namings commit and tree' -r
complete -c tracemark -n "__fish_tracemark_using_subcommand up" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand up" -l only-this -d 'Track this worktree only, not every worktree of the repository'
complete -c tracemark -n "__fish_tracemark_using_subcommand up" -s y -l yes -d 'Answer every question with yes'
complete -c tracemark -n "__fish_tracemark_using_subcommand up" -l dry-run -d 'Say what would be written where, and write nothing'
complete -c tracemark -n "__fish_tracemark_using_subcommand up" -l allow-home -d 'Track a repository that is the home directory, or /'
complete -c tracemark -n "__fish_tracemark_using_subcommand up" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tracemark -n "__fish_tracemark_using_subcommand down" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand down" -l only-this -d 'Only this worktree'
complete -c tracemark -n "__fish_tracemark_using_subcommand down" -l purge -d 'Remove everything that tracemark ever wrote on this machine, in every repository'
complete -c tracemark -n "__fish_tracemark_using_subcommand down" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand status" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand status" -l json -d 'One JSON document instead of text'
complete -c tracemark -n "__fish_tracemark_using_subcommand status" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand hash" -l naming -d 'Which hash: the guide\'s, the full HEAD, or the tree id [default: git-hash; with --safe: tree]' -r -f -a "git-hash\t'Exactly what the guide\'s get_current_git_hash() returns'
commit\t'{app}-git-{8 hex}, as step 2 of the guide'
tree\t'{app}-tree-{12 hex}: the same code, the same name'"
complete -c tracemark -n "__fish_tracemark_using_subcommand hash" -l app -d 'The app\'s name, for --name' -r
complete -c tracemark -n "__fish_tracemark_using_subcommand hash" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand hash" -l name -d 'Print the LoggedModel\'s name instead'
complete -c tracemark -n "__fish_tracemark_using_subcommand hash" -l explain -d 'Then say what it was made of, and what would change it though no code changes'
complete -c tracemark -n "__fish_tracemark_using_subcommand hash" -l safe -d 'Run nothing that the repository\'s configuration names: no filter, hook or diff program'
complete -c tracemark -n "__fish_tracemark_using_subcommand hash" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tracemark -n "__fish_tracemark_using_subcommand active" -l timeout -d 'How long to wait, in seconds' -r
complete -c tracemark -n "__fish_tracemark_using_subcommand active" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand active" -l json -d 'The whole state as JSON'
complete -c tracemark -n "__fish_tracemark_using_subcommand active" -l no-wait -d 'What is known now, without waiting'
complete -c tracemark -n "__fish_tracemark_using_subcommand active" -l full -d 'Look at every file, also where the file system told of no change'
complete -c tracemark -n "__fish_tracemark_using_subcommand active" -l once -d 'Read and create in this process: needs neither `up` nor a daemon'
complete -c tracemark -n "__fish_tracemark_using_subcommand active" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand env" -l shell -d 'For which shell or reader' -r -f -a "sh\t'POSIX shells'
bash\t'bash'
zsh\t'zsh'
fish\t'fish'
json\t'One JSON object'
dotenv\t'NAME=VALUE lines'"
complete -c tracemark -n "__fish_tracemark_using_subcommand env" -l timeout -d 'How long to wait, in seconds' -r
complete -c tracemark -n "__fish_tracemark_using_subcommand env" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand env" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tracemark -n "__fish_tracemark_using_subcommand exec" -l timeout -d 'How long to wait for the model id, in seconds' -r
complete -c tracemark -n "__fish_tracemark_using_subcommand exec" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand exec" -l require -d 'Do not run the command without a model id'
complete -c tracemark -n "__fish_tracemark_using_subcommand exec" -l once -d 'Read and create in this process: needs neither `up` nor a daemon'
complete -c tracemark -n "__fish_tracemark_using_subcommand exec" -s y -l yes -d 'Have MLflow\'s SQLite file made by the app\'s own MLflow where it is missing'
complete -c tracemark -n "__fish_tracemark_using_subcommand exec" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand params; and not __fish_seen_subcommand_from set unset show help" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand params; and not __fish_seen_subcommand_from set unset show help" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand params; and not __fish_seen_subcommand_from set unset show help" -f -a "set" -d 'Set parameters for the versions of this repository'
complete -c tracemark -n "__fish_tracemark_using_subcommand params; and not __fish_seen_subcommand_from set unset show help" -f -a "unset" -d 'Take parameters back that were set with tracemark params'
complete -c tracemark -n "__fish_tracemark_using_subcommand params; and not __fish_seen_subcommand_from set unset show help" -f -a "show" -d 'Show the parameters, and what the version of the code on disk has'
complete -c tracemark -n "__fish_tracemark_using_subcommand params; and not __fish_seen_subcommand_from set unset show help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tracemark -n "__fish_tracemark_using_subcommand params; and __fish_seen_subcommand_from set" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand params; and __fish_seen_subcommand_from set" -l new-version -d 'Make another version of the same code, for a parameter that this one has already'
complete -c tracemark -n "__fish_tracemark_using_subcommand params; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand params; and __fish_seen_subcommand_from unset" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand params; and __fish_seen_subcommand_from unset" -l new-version -d 'Make another version of the same code without them'
complete -c tracemark -n "__fish_tracemark_using_subcommand params; and __fish_seen_subcommand_from unset" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand params; and __fish_seen_subcommand_from show" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand params; and __fish_seen_subcommand_from show" -l json -d 'One JSON document instead of text'
complete -c tracemark -n "__fish_tracemark_using_subcommand params; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand params; and __fish_seen_subcommand_from help" -f -a "set" -d 'Set parameters for the versions of this repository'
complete -c tracemark -n "__fish_tracemark_using_subcommand params; and __fish_seen_subcommand_from help" -f -a "unset" -d 'Take parameters back that were set with tracemark params'
complete -c tracemark -n "__fish_tracemark_using_subcommand params; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show the parameters, and what the version of the code on disk has'
complete -c tracemark -n "__fish_tracemark_using_subcommand params; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tracemark -n "__fish_tracemark_using_subcommand pin" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand pin" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand unpin" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand unpin" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand restore" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand restore" -l plain -d 'Plain files, not a linked worktree'
complete -c tracemark -n "__fish_tracemark_using_subcommand restore" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand show" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand show" -l json -d 'One JSON document instead of text'
complete -c tracemark -n "__fish_tracemark_using_subcommand show" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand diff" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand diff" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand log" -s n -l limit -d 'At most so many' -r
complete -c tracemark -n "__fish_tracemark_using_subcommand log" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand log" -l json -d 'One JSON document instead of text'
complete -c tracemark -n "__fish_tracemark_using_subcommand log" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand gc" -l keep -d 'How old a LoggedModel must be, instead of the setting gc.keep (30d)' -r
complete -c tracemark -n "__fish_tracemark_using_subcommand gc" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand gc" -s y -l yes -d 'Remove what is listed'
complete -c tracemark -n "__fish_tracemark_using_subcommand gc" -l dry-run -d 'Only list what would be removed, which is the default'
complete -c tracemark -n "__fish_tracemark_using_subcommand gc" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand demo" -l dir -d 'Where to make the repository, instead of a temporary directory' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand demo" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand demo" -l clean -d 'Remove the repository at the end'
complete -c tracemark -n "__fish_tracemark_using_subcommand demo" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand daemon" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand daemon" -l detached -d 'Leave the terminal\'s session and report readiness on standard output'
complete -c tracemark -n "__fish_tracemark_using_subcommand daemon" -l empty-env-files -d 'Empty every env file that no daemon watches over, and end'
complete -c tracemark -n "__fish_tracemark_using_subcommand daemon" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand service; and not __fish_seen_subcommand_from install uninstall status help" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand service; and not __fish_seen_subcommand_from install uninstall status help" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand service; and not __fish_seen_subcommand_from install uninstall status help" -f -a "install" -d 'Write the user units for this program, enable and start them'
complete -c tracemark -n "__fish_tracemark_using_subcommand service; and not __fish_seen_subcommand_from install uninstall status help" -f -a "uninstall" -d 'Stop and remove the user units'
complete -c tracemark -n "__fish_tracemark_using_subcommand service; and not __fish_seen_subcommand_from install uninstall status help" -f -a "status" -d 'Show whether systemd runs the daemon'
complete -c tracemark -n "__fish_tracemark_using_subcommand service; and not __fish_seen_subcommand_from install uninstall status help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tracemark -n "__fish_tracemark_using_subcommand service; and __fish_seen_subcommand_from install" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand service; and __fish_seen_subcommand_from install" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand service; and __fish_seen_subcommand_from uninstall" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand service; and __fish_seen_subcommand_from uninstall" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand service; and __fish_seen_subcommand_from status" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand service; and __fish_seen_subcommand_from status" -l json -d 'One JSON document instead of text'
complete -c tracemark -n "__fish_tracemark_using_subcommand service; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand service; and __fish_seen_subcommand_from help" -f -a "install" -d 'Write the user units for this program, enable and start them'
complete -c tracemark -n "__fish_tracemark_using_subcommand service; and __fish_seen_subcommand_from help" -f -a "uninstall" -d 'Stop and remove the user units'
complete -c tracemark -n "__fish_tracemark_using_subcommand service; and __fish_seen_subcommand_from help" -f -a "status" -d 'Show whether systemd runs the daemon'
complete -c tracemark -n "__fish_tracemark_using_subcommand service; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tracemark -n "__fish_tracemark_using_subcommand doctor" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand doctor" -l json -d 'One JSON document instead of text'
complete -c tracemark -n "__fish_tracemark_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand config; and not __fish_seen_subcommand_from show default help" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand config; and not __fish_seen_subcommand_from show default help" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand config; and not __fish_seen_subcommand_from show default help" -f -a "show" -d 'Show every setting that has a value here'
complete -c tracemark -n "__fish_tracemark_using_subcommand config; and not __fish_seen_subcommand_from show default help" -f -a "default" -d 'Print the defaults as a file, with what each setting is for'
complete -c tracemark -n "__fish_tracemark_using_subcommand config; and not __fish_seen_subcommand_from show default help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tracemark -n "__fish_tracemark_using_subcommand config; and __fish_seen_subcommand_from show" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand config; and __fish_seen_subcommand_from show" -l origin -d 'Say where each value comes from'
complete -c tracemark -n "__fish_tracemark_using_subcommand config; and __fish_seen_subcommand_from show" -l json -d 'One JSON document instead of text, with the origins'
complete -c tracemark -n "__fish_tracemark_using_subcommand config; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand config; and __fish_seen_subcommand_from default" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand config; and __fish_seen_subcommand_from default" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show every setting that has a value here'
complete -c tracemark -n "__fish_tracemark_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "default" -d 'Print the defaults as a file, with what each setting is for'
complete -c tracemark -n "__fish_tracemark_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tracemark -n "__fish_tracemark_using_subcommand watch" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand watch" -l json -d 'One JSON document a line'
complete -c tracemark -n "__fish_tracemark_using_subcommand watch" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand prompt" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand prompt" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand completions" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand completions" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand man" -l dir -d 'Write the pages of all commands there' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand man" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand man" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand hook" -l socket -d 'The daemon\'s socket, instead of looking for it' -r -F
complete -c tracemark -n "__fish_tracemark_using_subcommand hook" -s h -l help -d 'Print help'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "up" -d 'Track this repository: checks, hooks, daemon, first version'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "down" -d 'Stop tracking this repository and take everything back'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "status" -d 'Show daemon, store and every tracked worktree'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "hash" -d 'Print the repository hash; needs no daemon, no store, no network'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "active" -d 'Print the model id of the code on disk now'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "env" -d 'Print the variables for `eval "$(tracemark env)"`'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "exec" -d 'Run a command with the right model id in its environment'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "params" -d 'Show or change the parameters of versions'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "pin" -d 'Use one version, found by its name, whatever the code'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "unpin" -d 'Go back to the version of the code'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "restore" -d 'Bring the exact code of a version back, into a new directory'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "show" -d 'Show one version, or one file of it'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "diff" -d 'Show the code between two versions'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "log" -d 'List the versions of this repository, newest first'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "gc" -d 'Remove versions that nothing refers to; shows them first'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "demo" -d 'A guided tour on a throw-away repository'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "daemon" -d 'Run the daemon in the foreground'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "service" -d 'Have systemd run the daemon: at login, and again after a crash'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "doctor" -d 'Look for every known trouble, and say what to type'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "config" -d 'Show the settings, and where each comes from'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "watch" -d 'Follow this worktree: version, changed files, model id, as one edits'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "prompt" -d 'Print a few letters for a shell\'s prompt, at once; nothing where nothing is tracked'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "completions" -d 'Print the completions for a shell'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "man" -d 'Print a manual page'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "hook" -d 'Called by git\'s hooks'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and not __fish_seen_subcommand_from up down status hash active env exec params pin unpin restore show diff log gc demo daemon service doctor config watch prompt completions man hook help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and __fish_seen_subcommand_from params" -f -a "set" -d 'Set parameters for the versions of this repository'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and __fish_seen_subcommand_from params" -f -a "unset" -d 'Take parameters back that were set with tracemark params'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and __fish_seen_subcommand_from params" -f -a "show" -d 'Show the parameters, and what the version of the code on disk has'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and __fish_seen_subcommand_from service" -f -a "install" -d 'Write the user units for this program, enable and start them'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and __fish_seen_subcommand_from service" -f -a "uninstall" -d 'Stop and remove the user units'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and __fish_seen_subcommand_from service" -f -a "status" -d 'Show whether systemd runs the daemon'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "show" -d 'Show every setting that has a value here'
complete -c tracemark -n "__fish_tracemark_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "default" -d 'Print the defaults as a file, with what each setting is for'
