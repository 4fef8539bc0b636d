
use builtin;
use str;

set edit:completion:arg-completer[tracemark] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'tracemark'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'tracemark'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
            cand up 'Track this repository: checks, hooks, daemon, first version'
            cand down 'Stop tracking this repository and take everything back'
            cand status 'Show daemon, store and every tracked worktree'
            cand hash 'Print the repository hash; needs no daemon, no store, no network'
            cand active 'Print the model id of the code on disk now'
            cand env 'Print the variables for `eval "$(tracemark env)"`'
            cand exec 'Run a command with the right model id in its environment'
            cand params 'Show or change the parameters of versions'
            cand pin 'Use one version, found by its name, whatever the code'
            cand unpin 'Go back to the version of the code'
            cand restore 'Bring the exact code of a version back, into a new directory'
            cand show 'Show one version, or one file of it'
            cand diff 'Show the code between two versions'
            cand log 'List the versions of this repository, newest first'
            cand gc 'Remove versions that nothing refers to; shows them first'
            cand demo 'A guided tour on a throw-away repository'
            cand daemon 'Run the daemon in the foreground'
            cand service 'Have systemd run the daemon: at login, and again after a crash'
            cand doctor 'Look for every known trouble, and say what to type'
            cand config 'Show the settings, and where each comes from'
            cand watch 'Follow this worktree: version, changed files, model id, as one edits'
            cand prompt 'Print a few letters for a shell''s prompt, at once; nothing where nothing is tracked'
            cand completions 'Print the completions for a shell'
            cand man 'Print a manual page'
            cand hook 'Called by git''s hooks'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'tracemark;up'= {
            cand --store 'The MLflow tracking URI, instead of MLFLOW_TRACKING_URI or MLflow''s default'
            cand --experiment 'The experiment''s name, created if absent'
            cand --allow-http-credentials 'Send a password or token over plain http to another machine (=false takes that back)'
            cand --naming 'How LoggedModels are named'
            cand --app 'The app''s name, for the namings commit and tree'
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand --only-this 'Track this worktree only, not every worktree of the repository'
            cand -y 'Answer every question with yes'
            cand --yes 'Answer every question with yes'
            cand --dry-run 'Say what would be written where, and write nothing'
            cand --allow-home 'Track a repository that is the home directory, or /'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'tracemark;down'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand --only-this 'Only this worktree'
            cand --purge 'Remove everything that tracemark ever wrote on this machine, in every repository'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;status'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand --json 'One JSON document instead of text'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;hash'= {
            cand --naming 'Which hash: the guide''s, the full HEAD, or the tree id [default: git-hash; with --safe: tree]'
            cand --app 'The app''s name, for --name'
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand --name 'Print the LoggedModel''s name instead'
            cand --explain 'Then say what it was made of, and what would change it though no code changes'
            cand --safe 'Run nothing that the repository''s configuration names: no filter, hook or diff program'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'tracemark;active'= {
            cand --timeout 'How long to wait, in seconds'
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand --json 'The whole state as JSON'
            cand --no-wait 'What is known now, without waiting'
            cand --full 'Look at every file, also where the file system told of no change'
            cand --once 'Read and create in this process: needs neither `up` nor a daemon'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;env'= {
            cand --shell 'For which shell or reader'
            cand --timeout 'How long to wait, in seconds'
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'tracemark;exec'= {
            cand --timeout 'How long to wait for the model id, in seconds'
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand --require 'Do not run the command without a model id'
            cand --once 'Read and create in this process: needs neither `up` nor a daemon'
            cand -y 'Have MLflow''s SQLite file made by the app''s own MLflow where it is missing'
            cand --yes 'Have MLflow''s SQLite file made by the app''s own MLflow where it is missing'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;params'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand -h 'Print help'
            cand --help 'Print help'
            cand set 'Set parameters for the versions of this repository'
            cand unset 'Take parameters back that were set with tracemark params'
            cand show 'Show the parameters, and what the version of the code on disk has'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'tracemark;params;set'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand --new-version 'Make another version of the same code, for a parameter that this one has already'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;params;unset'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand --new-version 'Make another version of the same code without them'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;params;show'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand --json 'One JSON document instead of text'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;params;help'= {
            cand set 'Set parameters for the versions of this repository'
            cand unset 'Take parameters back that were set with tracemark params'
            cand show 'Show the parameters, and what the version of the code on disk has'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'tracemark;params;help;set'= {
        }
        &'tracemark;params;help;unset'= {
        }
        &'tracemark;params;help;show'= {
        }
        &'tracemark;params;help;help'= {
        }
        &'tracemark;pin'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;unpin'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;restore'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand --plain 'Plain files, not a linked worktree'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;show'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand --json 'One JSON document instead of text'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;diff'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;log'= {
            cand -n 'At most so many'
            cand --limit 'At most so many'
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand --json 'One JSON document instead of text'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;gc'= {
            cand --keep 'How old a LoggedModel must be, instead of the setting gc.keep (30d)'
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand -y 'Remove what is listed'
            cand --yes 'Remove what is listed'
            cand --dry-run 'Only list what would be removed, which is the default'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;demo'= {
            cand --dir 'Where to make the repository, instead of a temporary directory'
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand --clean 'Remove the repository at the end'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;daemon'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand --detached 'Leave the terminal''s session and report readiness on standard output'
            cand --empty-env-files 'Empty every env file that no daemon watches over, and end'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;service'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand -h 'Print help'
            cand --help 'Print help'
            cand install 'Write the user units for this program, enable and start them'
            cand uninstall 'Stop and remove the user units'
            cand status 'Show whether systemd runs the daemon'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'tracemark;service;install'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;service;uninstall'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;service;status'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand --json 'One JSON document instead of text'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;service;help'= {
            cand install 'Write the user units for this program, enable and start them'
            cand uninstall 'Stop and remove the user units'
            cand status 'Show whether systemd runs the daemon'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'tracemark;service;help;install'= {
        }
        &'tracemark;service;help;uninstall'= {
        }
        &'tracemark;service;help;status'= {
        }
        &'tracemark;service;help;help'= {
        }
        &'tracemark;doctor'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand --json 'One JSON document instead of text'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;config'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand -h 'Print help'
            cand --help 'Print help'
            cand show 'Show every setting that has a value here'
            cand default 'Print the defaults as a file, with what each setting is for'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'tracemark;config;show'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand --origin 'Say where each value comes from'
            cand --json 'One JSON document instead of text, with the origins'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;config;default'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;config;help'= {
            cand show 'Show every setting that has a value here'
            cand default 'Print the defaults as a file, with what each setting is for'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'tracemark;config;help;show'= {
        }
        &'tracemark;config;help;default'= {
        }
        &'tracemark;config;help;help'= {
        }
        &'tracemark;watch'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand --json 'One JSON document a line'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;prompt'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;completions'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;man'= {
            cand --dir 'Write the pages of all commands there'
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;hook'= {
            cand --socket 'The daemon''s socket, instead of looking for it'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'tracemark;help'= {
            cand up 'Track this repository: checks, hooks, daemon, first version'
            cand down 'Stop tracking this repository and take everything back'
            cand status 'Show daemon, store and every tracked worktree'
            cand hash 'Print the repository hash; needs no daemon, no store, no network'
            cand active 'Print the model id of the code on disk now'
            cand env 'Print the variables for `eval "$(tracemark env)"`'
            cand exec 'Run a command with the right model id in its environment'
            cand params 'Show or change the parameters of versions'
            cand pin 'Use one version, found by its name, whatever the code'
            cand unpin 'Go back to the version of the code'
            cand restore 'Bring the exact code of a version back, into a new directory'
            cand show 'Show one version, or one file of it'
            cand diff 'Show the code between two versions'
            cand log 'List the versions of this repository, newest first'
            cand gc 'Remove versions that nothing refers to; shows them first'
            cand demo 'A guided tour on a throw-away repository'
            cand daemon 'Run the daemon in the foreground'
            cand service 'Have systemd run the daemon: at login, and again after a crash'
            cand doctor 'Look for every known trouble, and say what to type'
            cand config 'Show the settings, and where each comes from'
            cand watch 'Follow this worktree: version, changed files, model id, as one edits'
            cand prompt 'Print a few letters for a shell''s prompt, at once; nothing where nothing is tracked'
            cand completions 'Print the completions for a shell'
            cand man 'Print a manual page'
            cand hook 'Called by git''s hooks'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'tracemark;help;up'= {
        }
        &'tracemark;help;down'= {
        }
        &'tracemark;help;status'= {
        }
        &'tracemark;help;hash'= {
        }
        &'tracemark;help;active'= {
        }
        &'tracemark;help;env'= {
        }
        &'tracemark;help;exec'= {
        }
        &'tracemark;help;params'= {
            cand set 'Set parameters for the versions of this repository'
            cand unset 'Take parameters back that were set with tracemark params'
            cand show 'Show the parameters, and what the version of the code on disk has'
        }
        &'tracemark;help;params;set'= {
        }
        &'tracemark;help;params;unset'= {
        }
        &'tracemark;help;params;show'= {
        }
        &'tracemark;help;pin'= {
        }
        &'tracemark;help;unpin'= {
        }
        &'tracemark;help;restore'= {
        }
        &'tracemark;help;show'= {
        }
        &'tracemark;help;diff'= {
        }
        &'tracemark;help;log'= {
        }
        &'tracemark;help;gc'= {
        }
        &'tracemark;help;demo'= {
        }
        &'tracemark;help;daemon'= {
        }
        &'tracemark;help;service'= {
            cand install 'Write the user units for this program, enable and start them'
            cand uninstall 'Stop and remove the user units'
            cand status 'Show whether systemd runs the daemon'
        }
        &'tracemark;help;service;install'= {
        }
        &'tracemark;help;service;uninstall'= {
        }
        &'tracemark;help;service;status'= {
        }
        &'tracemark;help;doctor'= {
        }
        &'tracemark;help;config'= {
            cand show 'Show every setting that has a value here'
            cand default 'Print the defaults as a file, with what each setting is for'
        }
        &'tracemark;help;config;show'= {
        }
        &'tracemark;help;config;default'= {
        }
        &'tracemark;help;watch'= {
        }
        &'tracemark;help;prompt'= {
        }
        &'tracemark;help;completions'= {
        }
        &'tracemark;help;man'= {
        }
        &'tracemark;help;hook'= {
        }
        &'tracemark;help;help'= {
        }
    ]
    $completions[$command]
}
