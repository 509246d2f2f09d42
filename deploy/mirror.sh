#!/bin/sh
# Runs a registry in proxy mode, a mirror of another one: mirror.sh PROGRAM CONFIG [SECONDS]
#
# Such a registry does not start while its source is away: distribution 2.8 and 3.0 end with a panic, which is status 2. Then the
# same program serves what the mirror has, read-only and without proxy mode, and every 30 (or SECONDS) seconds another one tries
# the source: once that answers, it only finds the port taken.
set -u
program=$1
config=$2
seconds=${3:-30}
child=''
kept=''

stop() {
  trap '' TERM INT
  # shellcheck disable=SC2086 # none, one or two processes
  kill $child $kept 2>/dev/null
  wait
  exit 0
}
trap stop TERM INT

# Runs a program so that a signal is heeded meanwhile; gives its status.
follow() {
  "$@" &
  child=$!
  wait "$child"
  set -- $?
  child=''
  return "$1"
}

while :; do
  follow "$program" serve "$config"
  status=$?
  [ $status = 2 ] || exit $status
  echo "The source of this mirror does not answer: serving what the mirror has, until it does." >&2
  REGISTRY_PROXY_REMOTEURL='' REGISTRY_STORAGE_MAINTENANCE_READONLY='{enabled: true}' "$program" serve "$config" &
  kept=$!
  while [ $status = 2 ]; do
    follow sleep "$seconds"
    kill -0 $kept 2>/dev/null || exit 1
    follow "$program" serve "$config" >/dev/null 2>&1
    status=$?
  done
  kill $kept
  wait $kept
  kept=''
done
