# shellcheck shell=bash
# The units of the .deb under a real manager: after store.sh and steps.sh.
rm ~/bin/tracemark
tm=/usr/bin/tracemark
make_repo
step "status finds the units of the package"
said=$("$tm" service status 2>&1) && die "it is not started yet: $said"
[[ $said == *"/usr/lib/systemd/user"* && $said == *"program   $tm"* ]] || die "$said"
step "systemd runs the program of the package"
systemctl --user enable --now tracemark.socket tracemark.service
"$tm" service status || die "status after enable"
"$tm" up --store "sqlite:///$HOME/mlflow.db"
expect "$("$tm" status --json | field daemon.by_systemd)" True "who started it"
expect "$("$tm" status --json | field daemon.program)" "$tm" "the program"
expect "$("$tm" active)" "$(env_id)" "the id"
step "uninstall leaves the files of the package and nothing of its own"
"$tm" service uninstall
[ -f /usr/lib/systemd/user/tracemark.service ] || die "the unit of the package is gone"
expect "$(find ~/.config/systemd -name 'tracemark*')" "" "what is left"
expect "$(property tracemark.service ActiveState)" inactive "the service"
step "install puts units of this shell over them"
"$tm" service install
[ -f ~/.config/systemd/user/tracemark.service ] || die "no units were written"
"$tm" service uninstall
