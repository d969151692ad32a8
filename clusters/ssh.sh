#!/usr/bin/env bash
# Starts the same command on several machines over ssh; Ctrl-C here ends all of them in good order.
#
#   HOSTS="alpha beta gamma" bash ssh.sh \
#     --storage postgresql://user@database/name --study mine --trials 1000 \
#     --artifacts /mnt/share/nas
#
# Each machine has nas-search in FOLDER, installed into .venv there, and the database's password in
# ~/.pgpass. The machines are those that `ssh alpha true` enters without asking anything.
set -euo pipefail

: "${HOSTS:?name the machines: HOSTS=\"alpha beta\"}"
folder=${FOLDER:-nas-search}

# Runs on each machine. When this script ends, ssh does, and the machine hangs up.
# shellcheck disable=SC2016
remote='
  cd "$1" && shift || exit
  search= asked=
  end() { asked=yes; kill -TERM $search 2> /dev/null; }
  trap end HUP INT TERM
  .venv/bin/nas-search "$@" > >(cat) 2>&1 &
  search=$!
  [ -z "$asked" ] || end
  wait "$search"
  code=$?
  while kill -0 "$search" 2> /dev/null; do wait "$search"; code=$?; done
  exit "$code"
'

trap 'kill $(jobs -p) 2> /dev/null' INT TERM
for host in $HOSTS; do
  words=$(printf '%q ' "$remote" nas-search "$folder" "$@")
  ssh -tt "$host" "exec bash -c $words" < /dev/null > >(sed -u "s/^/$host: /") 2>&1 &
done

code=0
for job in $(jobs -p); do
  wait "$job" || code=$?
done
exit "$code"
