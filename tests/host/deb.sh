#!/usr/bin/env bash
# deb.sh FILE: installs a .deb over a copy of this system that nobody else sees, lets systemd run it, and removes it. Needs root and a
# mount namespace of its own.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# A file system of memory over each directory that dpkg writes to.
over=$(dirname "$1")/over; mkdir "$over"
mount --make-rprivate /
mount -t tmpfs tmpfs "$over"
for dir in usr var; do
  mkdir -p "$over/$dir/upper" "$over/$dir/work"
  mount -t overlay overlay -o "lowerdir=/$dir,upperdir=$over/$dir/upper,workdir=$over/$dir/work" "/$dir"
done
dpkg -i "$1"
dpkg -V tracemark
for file in bin/tracemark lib/systemd/user/tracemark.socket lib/systemd/user/tracemark.service share/man/man1/tracemark.1.gz \
  share/bash-completion/completions/tracemark share/zsh/vendor-completions/_tracemark share/doc/tracemark/changelog.gz; do
  [ -f "/usr/$file" ] || { echo "/usr/$file is missing"; exit 1; }
done
TRACEMARK_BIN=/usr/bin/tracemark "$here/with-user-systemd" bash -c "$(cat "$here/store.sh" "$here/systemd/steps.sh" "$here/systemd/package.sh")"
dpkg -r tracemark
[ ! -e /usr/bin/tracemark ]
