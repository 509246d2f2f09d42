#!/bin/sh
# Stands in for systemctl(1) where systemd does not run: notes every call, and starts and stops what the units say, as the
# user that they say, with no privilege but theirs. What it leaves out of the units is their confinement.
set -eu
echo "$*" >>/run/systemctl.log
units=/etc/systemd/system

# The name of a unit's file, that of its template for an instance: file_of UNIT
file_of() {
  case $1 in
    *@*) echo "${1%%@*}@.service" ;;
    *) echo "$1.service" ;;
  esac
}
# The last value of a setting, drop-ins last: setting UNIT NAME
setting() {
  for file in "$units/$(file_of "$1")" "$units/$(file_of "$1").d"/*.conf; do
    if [ -f "$file" ]; then sed -n "s/^$2=//p" "$file"; fi
  done | tail -n 1 | sed "s/%i/${1#*@}/g"
}
pid_of() { cat "/run/units/$1.pid" 2>/dev/null || true; }
is_running() {
  pid=$(pid_of "$1")
  # Nobody reaps here: what has ended stays as a zombie.
  [ -n "$pid" ] && [ -d "/proc/$pid" ] && ! grep -qs '^State:[[:space:]]*Z' "/proc/$pid/status"
}
start() {
  if is_running "$1"; then return; fi
  mkdir -p /run/units
  user=$(setting "$1" User)
  group=$(setting "$1" Group)
  groups=$(setting "$1" SupplementaryGroups | tr ' ' ',')
  capability=$(setting "$1" AmbientCapabilities | tr '[:upper:]' '[:lower:]' | sed 's/^cap_/+/')
  folder=$(setting "$1" RuntimeDirectory)
  if [ -n "$folder" ]; then install -d -m 750 -o "$user" -g "$group" "/run/$folder"; fi
  folder=$(setting "$1" LogsDirectory)
  if [ -n "$folder" ]; then install -d -m 750 -o "$user" -g "$group" "/var/log/$folder"; fi
  # NAME:FILE, of which the service gets a copy of its own.
  credential=$(setting "$1" LoadCredential)
  credentials=/run/credentials/$1.service
  if [ -n "$credential" ]; then
    install -d -m 500 -o "$user" -g "$group" "$credentials"
    install -m 400 -o "$user" -g "$group" "${credential#*:}" "$credentials/${credential%%:*}"
  fi
  directory=$(setting "$1" WorkingDirectory)
  umask "$(setting "$1" UMask)"
  cd "${directory:-/}"
  # shellcheck disable=SC2046,SC2086 # the command is several words
  setsid setpriv --reuid="$user" --regid="$group" ${groups:+--groups="$groups"} $([ -n "$groups" ] || echo --clear-groups) \
    --bounding-set="-all${capability:+,$capability}" --inh-caps="-all${capability:+,$capability}" \
    ${capability:+--ambient-caps="$capability"} --no-new-privs \
    env -i PATH=/usr/local/bin:/usr/bin:/bin $(setting "$1" ExecStart | sed "s|\${CREDENTIALS_DIRECTORY}|$credentials|") </dev/null >>"/run/units/$1.log" 2>&1 &
  echo $! >"/run/units/$1.pid"
}
stop() {
  if ! is_running "$1"; then return; fi
  pid=$(pid_of "$1")
  kill -TERM "$pid"
  tries=0
  while is_running "$1" && [ $tries -lt 300 ]; do
    sleep 0.1
    tries=$((tries + 1))
  done
  rm -f "/run/units/$1.pid"
}

verb=$1
shift
now=''
if [ "${1:-}" = --now ]; then
  now=yes
  shift
fi
for unit in "$@"; do
  case $unit in --*) continue ;; esac
  name=${unit%.service}
  if [ "$verb" = disable ] && [ -f "/lib/systemd/system/$name.service" ]; then continue; fi
  [ -f "$units/$(file_of "$name")" ] || {
    echo "Unit $unit not found." >&2
    exit 5
  }
  case $verb in
    start) start "$name" ;;
    stop) stop "$name" ;;
    restart)
      stop "$name"
      start "$name"
      ;;
    disable) if [ -n "$now" ]; then stop "$name"; fi ;;
    reload) kill -HUP "$(pid_of "$name")" ;; # as ExecReload does
    enable | kill) ;;
    *) exit 2 ;;
  esac
done
