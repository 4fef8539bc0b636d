
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'tracemark' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'tracemark'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'tracemark' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('up', 'up', [CompletionResultType]::ParameterValue, 'Track this repository: checks, hooks, daemon, first version')
            [CompletionResult]::new('down', 'down', [CompletionResultType]::ParameterValue, 'Stop tracking this repository and take everything back')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show daemon, store and every tracked worktree')
            [CompletionResult]::new('hash', 'hash', [CompletionResultType]::ParameterValue, 'Print the repository hash; needs no daemon, no store, no network')
            [CompletionResult]::new('active', 'active', [CompletionResultType]::ParameterValue, 'Print the model id of the code on disk now')
            [CompletionResult]::new('env', 'env', [CompletionResultType]::ParameterValue, 'Print the variables for `eval "$(tracemark env)"`')
            [CompletionResult]::new('exec', 'exec', [CompletionResultType]::ParameterValue, 'Run a command with the right model id in its environment')
            [CompletionResult]::new('params', 'params', [CompletionResultType]::ParameterValue, 'Show or change the parameters of versions')
            [CompletionResult]::new('pin', 'pin', [CompletionResultType]::ParameterValue, 'Use one version, found by its name, whatever the code')
            [CompletionResult]::new('unpin', 'unpin', [CompletionResultType]::ParameterValue, 'Go back to the version of the code')
            [CompletionResult]::new('restore', 'restore', [CompletionResultType]::ParameterValue, 'Bring the exact code of a version back, into a new directory')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show one version, or one file of it')
            [CompletionResult]::new('diff', 'diff', [CompletionResultType]::ParameterValue, 'Show the code between two versions')
            [CompletionResult]::new('log', 'log', [CompletionResultType]::ParameterValue, 'List the versions of this repository, newest first')
            [CompletionResult]::new('gc', 'gc', [CompletionResultType]::ParameterValue, 'Remove versions that nothing refers to; shows them first')
            [CompletionResult]::new('demo', 'demo', [CompletionResultType]::ParameterValue, 'A guided tour on a throw-away repository')
            [CompletionResult]::new('daemon', 'daemon', [CompletionResultType]::ParameterValue, 'Run the daemon in the foreground')
            [CompletionResult]::new('service', 'service', [CompletionResultType]::ParameterValue, 'Have systemd run the daemon: at login, and again after a crash')
            [CompletionResult]::new('doctor', 'doctor', [CompletionResultType]::ParameterValue, 'Look for every known trouble, and say what to type')
            [CompletionResult]::new('config', 'config', [CompletionResultType]::ParameterValue, 'Show the settings, and where each comes from')
            [CompletionResult]::new('watch', 'watch', [CompletionResultType]::ParameterValue, 'Follow this worktree: version, changed files, model id, as one edits')
            [CompletionResult]::new('prompt', 'prompt', [CompletionResultType]::ParameterValue, 'Print a few letters for a shell''s prompt, at once; nothing where nothing is tracked')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print the completions for a shell')
            [CompletionResult]::new('man', 'man', [CompletionResultType]::ParameterValue, 'Print a manual page')
            [CompletionResult]::new('hook', 'hook', [CompletionResultType]::ParameterValue, 'Called by git''s hooks')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'tracemark;up' {
            [CompletionResult]::new('--store', '--store', [CompletionResultType]::ParameterName, 'The MLflow tracking URI, instead of MLFLOW_TRACKING_URI or MLflow''s default')
            [CompletionResult]::new('--experiment', '--experiment', [CompletionResultType]::ParameterName, 'The experiment''s name, created if absent')
            [CompletionResult]::new('--allow-http-credentials', '--allow-http-credentials', [CompletionResultType]::ParameterName, 'Send a password or token over plain http to another machine (=false takes that back)')
            [CompletionResult]::new('--naming', '--naming', [CompletionResultType]::ParameterName, 'How LoggedModels are named')
            [CompletionResult]::new('--app', '--app', [CompletionResultType]::ParameterName, 'The app''s name, for the namings commit and tree')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('--only-this', '--only-this', [CompletionResultType]::ParameterName, 'Track this worktree only, not every worktree of the repository')
            [CompletionResult]::new('-y', '-y', [CompletionResultType]::ParameterName, 'Answer every question with yes')
            [CompletionResult]::new('--yes', '--yes', [CompletionResultType]::ParameterName, 'Answer every question with yes')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Say what would be written where, and write nothing')
            [CompletionResult]::new('--allow-home', '--allow-home', [CompletionResultType]::ParameterName, 'Track a repository that is the home directory, or /')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'tracemark;down' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('--only-this', '--only-this', [CompletionResultType]::ParameterName, 'Only this worktree')
            [CompletionResult]::new('--purge', '--purge', [CompletionResultType]::ParameterName, 'Remove everything that tracemark ever wrote on this machine, in every repository')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;status' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'One JSON document instead of text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;hash' {
            [CompletionResult]::new('--naming', '--naming', [CompletionResultType]::ParameterName, 'Which hash: the guide''s, the full HEAD, or the tree id [default: git-hash; with --safe: tree]')
            [CompletionResult]::new('--app', '--app', [CompletionResultType]::ParameterName, 'The app''s name, for --name')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'Print the LoggedModel''s name instead')
            [CompletionResult]::new('--explain', '--explain', [CompletionResultType]::ParameterName, 'Then say what it was made of, and what would change it though no code changes')
            [CompletionResult]::new('--safe', '--safe', [CompletionResultType]::ParameterName, 'Run nothing that the repository''s configuration names: no filter, hook or diff program')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'tracemark;active' {
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long to wait, in seconds')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'The whole state as JSON')
            [CompletionResult]::new('--no-wait', '--no-wait', [CompletionResultType]::ParameterName, 'What is known now, without waiting')
            [CompletionResult]::new('--full', '--full', [CompletionResultType]::ParameterName, 'Look at every file, also where the file system told of no change')
            [CompletionResult]::new('--once', '--once', [CompletionResultType]::ParameterName, 'Read and create in this process: needs neither `up` nor a daemon')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;env' {
            [CompletionResult]::new('--shell', '--shell', [CompletionResultType]::ParameterName, 'For which shell or reader')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long to wait, in seconds')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'tracemark;exec' {
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long to wait for the model id, in seconds')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('--require', '--require', [CompletionResultType]::ParameterName, 'Do not run the command without a model id')
            [CompletionResult]::new('--once', '--once', [CompletionResultType]::ParameterName, 'Read and create in this process: needs neither `up` nor a daemon')
            [CompletionResult]::new('-y', '-y', [CompletionResultType]::ParameterName, 'Have MLflow''s SQLite file made by the app''s own MLflow where it is missing')
            [CompletionResult]::new('--yes', '--yes', [CompletionResultType]::ParameterName, 'Have MLflow''s SQLite file made by the app''s own MLflow where it is missing')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;params' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('set', 'set', [CompletionResultType]::ParameterValue, 'Set parameters for the versions of this repository')
            [CompletionResult]::new('unset', 'unset', [CompletionResultType]::ParameterValue, 'Take parameters back that were set with tracemark params')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show the parameters, and what the version of the code on disk has')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'tracemark;params;set' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('--new-version', '--new-version', [CompletionResultType]::ParameterName, 'Make another version of the same code, for a parameter that this one has already')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;params;unset' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('--new-version', '--new-version', [CompletionResultType]::ParameterName, 'Make another version of the same code without them')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;params;show' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'One JSON document instead of text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;params;help' {
            [CompletionResult]::new('set', 'set', [CompletionResultType]::ParameterValue, 'Set parameters for the versions of this repository')
            [CompletionResult]::new('unset', 'unset', [CompletionResultType]::ParameterValue, 'Take parameters back that were set with tracemark params')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show the parameters, and what the version of the code on disk has')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'tracemark;params;help;set' {
            break
        }
        'tracemark;params;help;unset' {
            break
        }
        'tracemark;params;help;show' {
            break
        }
        'tracemark;params;help;help' {
            break
        }
        'tracemark;pin' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;unpin' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;restore' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('--plain', '--plain', [CompletionResultType]::ParameterName, 'Plain files, not a linked worktree')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;show' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'One JSON document instead of text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;diff' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;log' {
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'At most so many')
            [CompletionResult]::new('--limit', '--limit', [CompletionResultType]::ParameterName, 'At most so many')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'One JSON document instead of text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;gc' {
            [CompletionResult]::new('--keep', '--keep', [CompletionResultType]::ParameterName, 'How old a LoggedModel must be, instead of the setting gc.keep (30d)')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('-y', '-y', [CompletionResultType]::ParameterName, 'Remove what is listed')
            [CompletionResult]::new('--yes', '--yes', [CompletionResultType]::ParameterName, 'Remove what is listed')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Only list what would be removed, which is the default')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;demo' {
            [CompletionResult]::new('--dir', '--dir', [CompletionResultType]::ParameterName, 'Where to make the repository, instead of a temporary directory')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('--clean', '--clean', [CompletionResultType]::ParameterName, 'Remove the repository at the end')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;daemon' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('--detached', '--detached', [CompletionResultType]::ParameterName, 'Leave the terminal''s session and report readiness on standard output')
            [CompletionResult]::new('--empty-env-files', '--empty-env-files', [CompletionResultType]::ParameterName, 'Empty every env file that no daemon watches over, and end')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;service' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('install', 'install', [CompletionResultType]::ParameterValue, 'Write the user units for this program, enable and start them')
            [CompletionResult]::new('uninstall', 'uninstall', [CompletionResultType]::ParameterValue, 'Stop and remove the user units')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show whether systemd runs the daemon')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'tracemark;service;install' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;service;uninstall' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;service;status' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'One JSON document instead of text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;service;help' {
            [CompletionResult]::new('install', 'install', [CompletionResultType]::ParameterValue, 'Write the user units for this program, enable and start them')
            [CompletionResult]::new('uninstall', 'uninstall', [CompletionResultType]::ParameterValue, 'Stop and remove the user units')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show whether systemd runs the daemon')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'tracemark;service;help;install' {
            break
        }
        'tracemark;service;help;uninstall' {
            break
        }
        'tracemark;service;help;status' {
            break
        }
        'tracemark;service;help;help' {
            break
        }
        'tracemark;doctor' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'One JSON document instead of text')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;config' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show every setting that has a value here')
            [CompletionResult]::new('default', 'default', [CompletionResultType]::ParameterValue, 'Print the defaults as a file, with what each setting is for')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'tracemark;config;show' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('--origin', '--origin', [CompletionResultType]::ParameterName, 'Say where each value comes from')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'One JSON document instead of text, with the origins')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;config;default' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;config;help' {
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show every setting that has a value here')
            [CompletionResult]::new('default', 'default', [CompletionResultType]::ParameterValue, 'Print the defaults as a file, with what each setting is for')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'tracemark;config;help;show' {
            break
        }
        'tracemark;config;help;default' {
            break
        }
        'tracemark;config;help;help' {
            break
        }
        'tracemark;watch' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'One JSON document a line')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;prompt' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;completions' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;man' {
            [CompletionResult]::new('--dir', '--dir', [CompletionResultType]::ParameterName, 'Write the pages of all commands there')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;hook' {
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'The daemon''s socket, instead of looking for it')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'tracemark;help' {
            [CompletionResult]::new('up', 'up', [CompletionResultType]::ParameterValue, 'Track this repository: checks, hooks, daemon, first version')
            [CompletionResult]::new('down', 'down', [CompletionResultType]::ParameterValue, 'Stop tracking this repository and take everything back')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show daemon, store and every tracked worktree')
            [CompletionResult]::new('hash', 'hash', [CompletionResultType]::ParameterValue, 'Print the repository hash; needs no daemon, no store, no network')
            [CompletionResult]::new('active', 'active', [CompletionResultType]::ParameterValue, 'Print the model id of the code on disk now')
            [CompletionResult]::new('env', 'env', [CompletionResultType]::ParameterValue, 'Print the variables for `eval "$(tracemark env)"`')
            [CompletionResult]::new('exec', 'exec', [CompletionResultType]::ParameterValue, 'Run a command with the right model id in its environment')
            [CompletionResult]::new('params', 'params', [CompletionResultType]::ParameterValue, 'Show or change the parameters of versions')
            [CompletionResult]::new('pin', 'pin', [CompletionResultType]::ParameterValue, 'Use one version, found by its name, whatever the code')
            [CompletionResult]::new('unpin', 'unpin', [CompletionResultType]::ParameterValue, 'Go back to the version of the code')
            [CompletionResult]::new('restore', 'restore', [CompletionResultType]::ParameterValue, 'Bring the exact code of a version back, into a new directory')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show one version, or one file of it')
            [CompletionResult]::new('diff', 'diff', [CompletionResultType]::ParameterValue, 'Show the code between two versions')
            [CompletionResult]::new('log', 'log', [CompletionResultType]::ParameterValue, 'List the versions of this repository, newest first')
            [CompletionResult]::new('gc', 'gc', [CompletionResultType]::ParameterValue, 'Remove versions that nothing refers to; shows them first')
            [CompletionResult]::new('demo', 'demo', [CompletionResultType]::ParameterValue, 'A guided tour on a throw-away repository')
            [CompletionResult]::new('daemon', 'daemon', [CompletionResultType]::ParameterValue, 'Run the daemon in the foreground')
            [CompletionResult]::new('service', 'service', [CompletionResultType]::ParameterValue, 'Have systemd run the daemon: at login, and again after a crash')
            [CompletionResult]::new('doctor', 'doctor', [CompletionResultType]::ParameterValue, 'Look for every known trouble, and say what to type')
            [CompletionResult]::new('config', 'config', [CompletionResultType]::ParameterValue, 'Show the settings, and where each comes from')
            [CompletionResult]::new('watch', 'watch', [CompletionResultType]::ParameterValue, 'Follow this worktree: version, changed files, model id, as one edits')
            [CompletionResult]::new('prompt', 'prompt', [CompletionResultType]::ParameterValue, 'Print a few letters for a shell''s prompt, at once; nothing where nothing is tracked')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print the completions for a shell')
            [CompletionResult]::new('man', 'man', [CompletionResultType]::ParameterValue, 'Print a manual page')
            [CompletionResult]::new('hook', 'hook', [CompletionResultType]::ParameterValue, 'Called by git''s hooks')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'tracemark;help;up' {
            break
        }
        'tracemark;help;down' {
            break
        }
        'tracemark;help;status' {
            break
        }
        'tracemark;help;hash' {
            break
        }
        'tracemark;help;active' {
            break
        }
        'tracemark;help;env' {
            break
        }
        'tracemark;help;exec' {
            break
        }
        'tracemark;help;params' {
            [CompletionResult]::new('set', 'set', [CompletionResultType]::ParameterValue, 'Set parameters for the versions of this repository')
            [CompletionResult]::new('unset', 'unset', [CompletionResultType]::ParameterValue, 'Take parameters back that were set with tracemark params')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show the parameters, and what the version of the code on disk has')
            break
        }
        'tracemark;help;params;set' {
            break
        }
        'tracemark;help;params;unset' {
            break
        }
        'tracemark;help;params;show' {
            break
        }
        'tracemark;help;pin' {
            break
        }
        'tracemark;help;unpin' {
            break
        }
        'tracemark;help;restore' {
            break
        }
        'tracemark;help;show' {
            break
        }
        'tracemark;help;diff' {
            break
        }
        'tracemark;help;log' {
            break
        }
        'tracemark;help;gc' {
            break
        }
        'tracemark;help;demo' {
            break
        }
        'tracemark;help;daemon' {
            break
        }
        'tracemark;help;service' {
            [CompletionResult]::new('install', 'install', [CompletionResultType]::ParameterValue, 'Write the user units for this program, enable and start them')
            [CompletionResult]::new('uninstall', 'uninstall', [CompletionResultType]::ParameterValue, 'Stop and remove the user units')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show whether systemd runs the daemon')
            break
        }
        'tracemark;help;service;install' {
            break
        }
        'tracemark;help;service;uninstall' {
            break
        }
        'tracemark;help;service;status' {
            break
        }
        'tracemark;help;doctor' {
            break
        }
        'tracemark;help;config' {
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show every setting that has a value here')
            [CompletionResult]::new('default', 'default', [CompletionResultType]::ParameterValue, 'Print the defaults as a file, with what each setting is for')
            break
        }
        'tracemark;help;config;show' {
            break
        }
        'tracemark;help;config;default' {
            break
        }
        'tracemark;help;watch' {
            break
        }
        'tracemark;help;prompt' {
            break
        }
        'tracemark;help;completions' {
            break
        }
        'tracemark;help;man' {
            break
        }
        'tracemark;help;hook' {
            break
        }
        'tracemark;help;help' {
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
