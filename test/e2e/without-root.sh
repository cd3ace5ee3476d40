#!/usr/bin/env bash
# The main job as an ordinary user: the directory backend, tasks in a user namespace.
# Needs root to become nobody. Argument: a directory to work in.
set -euo pipefail
project=$(cd "$(dirname "$0")/../.." && pwd)
home=$(mktemp -d "${1:-/tmp}/nobody-XXXXXX")
trap 'rm -rf "$home"' EXIT
chmod 755 "$(dirname "$home")"
cp -r "$project/package.json" "$project/dist" "$project/node_modules" "$home/"
chown -R nobody "$home"
cd "$home"
node=$(command -v node)
setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME="$home" TMPDIR="$home" "$node" dist/src/bin/story.js --once
