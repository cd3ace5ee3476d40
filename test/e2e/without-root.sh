#!/usr/bin/env bash
# The main job as an ordinary user: the directory backend, tasks in a user namespace.
# Needs root to become nobody. Argument: a directory to work in that everybody may pass through; /tmp unless given.
# Whatever follows is handed to the story.
set -euo pipefail
project=$(cd "$(dirname "$0")/../.." && pwd -P)
home=$(mktemp -d "${1:-/tmp}/nobody-XXXXXX")
shift || true
trap 'rm -rf "$home"' EXIT
mkdir "$home/project" "$home/tmp"
chown nobody "$home" "$home/tmp"
# The project may lie where nobody cannot go, such as below /root: a read-only mount of it that ends with the script.
unshare --mount --propagation private -- sh -euc '
  project=$1 home=$2 node=$3
  shift 3
  mount --no-mtab --bind "$project" "$home/project"
  mount --no-mtab -o remount,bind,ro "$home/project"
  cd "$home/project"
  exec setpriv --reuid=nobody --regid=nogroup --clear-groups \
    env HOME="$home" TMPDIR="$home/tmp" "$node" dist/src/bin/story.js --once "$@"
' sh "$project" "$home" "$(command -v node)" "$@"
