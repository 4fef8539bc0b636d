#!/usr/bin/env bash
# Hook managers, each set up before and after `up`: commits work, tracemark sees them, what `down` leaves is the manager's own
# byte for byte, and the manager's own removal works.
# shellcheck source=tests/host/world.sh
source "$(dirname "$0")/../world.sh"
export PRE_COMMIT_HOME=$world/pre-commit LEFTHOOK_QUIET=meta
marks=$world/marks; mkdir "$marks"
store=sqlite:///$world/mlflow.db

# Every file that a manager may write, with its mode and bytes.
files() {
  find .git/hooks .git/config .husky tracked-hooks lefthook.yml .pre-commit-config.yaml -type f -printf '%m %p ' -exec sha256sum {} \; 2>/dev/null | sort || true
}
ours() { grep -rlE '# >>> tracemark|\[hook "tracemark"\]' .git/hooks .git/config .husky tracked-hooks 2>/dev/null || true; }

set_up_pre-commit() {
  cat >.pre-commit-config.yaml <<YAML
repos:
- repo: local
  hooks:
  - {id: mark, name: mark, entry: touch, args: ["$mark"], language: system, always_run: true, pass_filenames: false, stages: [post-commit]}
YAML
  pre-commit install -t post-commit -t post-merge >/dev/null
}
take_down_pre-commit() { pre-commit uninstall -t post-commit -t post-merge >/dev/null; }

set_up_husky() {
  mkdir -p .husky; echo "touch '$mark'" >.husky/post-commit
  husky
}
take_down_husky() { git config --unset core.hooksPath; rm -rf .husky/_; }

set_up_lefthook() {
  printf 'post-commit:\n  jobs:\n    - run: touch %s\n' "$mark" >lefthook.yml
  lefthook install >/dev/null
}
take_down_lefthook() { lefthook uninstall >/dev/null; }

# git-lfs stops at a hook that is there; this is what it tells one to do then.
set_up_git-lfs() {
  git lfs install --local >/dev/null 2>&1 || git lfs update --force >/dev/null
  touch "$mark"
}
take_down_git-lfs() {
  git lfs uninstall --local >/dev/null
  for event in post-commit post-checkout post-merge pre-push; do
    [ ! -e ".git/hooks/$event" ] || ! grep -q 'git lfs' ".git/hooks/$event" || { echo "$event of git-lfs stays"; return 1; }
  done
}

set_up_foreign() {
  mkdir -p tracked-hooks; printf '#!/bin/sh\ntouch "%s"\n' "$mark" >tracked-hooks/post-commit
  chmod +x tracked-hooks/post-commit
  git config core.hooksPath tracked-hooks
}
take_down_foreign() { git config --unset core.hooksPath; }

new_repository() {
  git init -q -b main "$world/$1"; cd "$world/$1"
  mark=$marks/$1
  printf 'print(1)\n' >app.py; git add -A; git commit -qm first
}

# A commit works, runs the manager's own hook, and is what tracemark says is active.
commit_is_seen() {
  git add -A; git commit -qm "$1" --allow-empty 2>"$world/said" || { cat "$world/said"; return 1; }
  [ -e "$mark" ] || { echo "$PWD: $1: the manager's own hook did not run"; return 1; }
  expect "$("$tm" active --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["name"])')" "$(git rev-parse HEAD)" "$PWD: $1"
}

for manager in pre-commit husky lefthook git-lfs foreign; do
  new_repository "$manager-before"
  "set_up_$manager"
  git add -A; git commit -qm "$manager" --allow-empty 2>/dev/null
  before=$(files)
  "$tm" up --store "$store" >/dev/null 2>&1
  commit_is_seen "after up"
  "$tm" down >/dev/null
  expect "$(files)" "$before" "$manager, set up before: what down leaves"
  "$tm" up --store "$store" >/dev/null 2>&1
  "take_down_$manager"
  touch "$mark"
  commit_is_seen "after the manager is gone"
  "$tm" down >/dev/null
  expect "$(ours)" "" "$manager, set up before and taken down: what is left of us"

  new_repository "$manager-after"
  "$tm" up --store "$store" >/dev/null 2>&1
  "set_up_$manager"
  commit_is_seen "after the manager came"
  "$tm" down >/dev/null
  expect "$(ours)" "" "$manager, set up after: what is left of us"
  rm -f "$mark"
  [ "$manager" != git-lfs ] || touch "$mark"
  echo 'print(2)' >app.py; git add -A; git commit -qm "without us" 2>/dev/null
  [ -e "$mark" ] || { echo "$manager does not work after down"; exit 1; }
  "$tm" up --store "$store" >/dev/null 2>&1
  commit_is_seen "up once more"
  "take_down_$manager"
  "$tm" down >/dev/null
  expect "$(ours)" "" "$manager, set up after and taken down: what is left of us"
done
