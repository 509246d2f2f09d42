#!/bin/sh
# Sets up a registry, Redis and Tidegate as services of systemd, on Debian, Ubuntu, RHEL, CentOS, Rocky or Alma.
#
#   sudo deploy/install.sh --host registry.example.com
#
# from a checkout or an unpacked release. It asks nothing. Run it again after a change or for an upgrade: certificates, users,
# images and settings stay. --undo takes it all away but those; --undo --purge those too. --help lists the options.
set -eu
umask 022

program=/opt/tidegate
settings=/etc/tidegate
logs=/var/log/tidegate
state=/var/lib/tidegate
mirror_storage=/var/lib/tidegate-mirror
units=/etc/systemd/system
record=$settings/.installed
wanted_node=20.19

source=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

usage() {
  cat <<'END'
Usage: deploy/install.sh [--host NAME[,NAME…]] [options]
       deploy/install.sh --undo [--purge]

  --host NAMES            names that clients use, comma-separated (default: this machine's own); may be given again later
  --ip ADDRESSES          addresses that clients use, comma-separated
  --port PORT             port that Tidegate listens on (443)
  --acme                  have the certificate of --host issued by Let's Encrypt, and renewed, by Tidegate itself (ACME)
  --email ADDRESS         with --acme: where Let's Encrypt may write to
  --user NAME             first user, made when there is none yet (admin)
  --registry-storage DIR  where the images are kept (/var/lib/tidegate-registry)
  --registry-port PORT    the registry's port on loopback (5000)
  --registry FILE         the registry's program, where it is in no package: docker-registry or registry
  --redis-port PORT       Redis's port on loopback (6390)
  --clean-schedule CRON   when what clean.rules do not keep is removed, such as "30 3 * * *" (by command alone: tidegate clean)
  --mirror SOURCES        registries to mirror beside it, comma-separated, such as docker.io (then HOST/hub/…); SOURCE=URL where
                          one is reached elsewhere; may be given again later
  --mirror-credentials FILE
                          credentials for the sources, lines of SOURCE USER PASSWORD; for root alone (chmod 600)
  --node FILE             Node 20.19 or newer (default: the one in PATH)
  --prebuilt              take dist/ and node_modules/ as they are here, without npm and network
  --no-packages           install no packages; what is missing is an error
  --no-start              set everything up, and neither enable nor start the services
  --dry-run               say what would be done
  --undo                  stop the services and remove them and the program; keep settings, certificates, users and images
  --purge                 with --undo: remove those too, for good
END
}

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}
misused() {
  printf '%s\n%s\n' "$*" "(--help shows the usage)" >&2
  exit 2
}
say() { printf '%s\n' "$*"; }
# Runs a command, or says that it would.
run() {
  if [ -n "$dry" ]; then say "would run: $*"; else "$@"; fi
}

hosts='' ips='' port=443 first_user=admin storage='' registry_port=5000 registry='' redis_port=6390
mirrors='' mirror_credentials='' acme='' email='' clean_schedule=''
node='' prebuilt='' packages=yes start=yes dry='' undo='' purge=''
while [ $# -gt 0 ]; do
  option=$1
  case $option in
    --*=*)
      value=${option#*=}
      option=${option%%=*}
      shift
      set -- "$option" "$value" "$@"
      ;;
  esac
  case $option in
    --host | --ip | --port | --user | --email | --registry-storage | --registry-port | --registry | --redis-port | --node | --mirror | --mirror-credentials | --clean-schedule)
      if [ $# -lt 2 ] || [ -z "$2" ]; then misused "$option needs a value."; fi
      case $option in
        --host) hosts=$hosts${hosts:+,}$2 ;;
        --ip) ips=$ips${ips:+,}$2 ;;
        --port) port=$2 ;;
        --user) first_user=$2 ;;
        --email) email=$2 ;;
        --registry-storage) storage=$2 ;;
        --registry-port) registry_port=$2 ;;
        --registry) registry=$2 ;;
        --redis-port) redis_port=$2 ;;
        --node) node=$2 ;;
        --clean-schedule) clean_schedule=$2 ;;
        --mirror) mirrors=$mirrors${mirrors:+,}$2 ;;
        --mirror-credentials) mirror_credentials=$2 ;;
      esac
      shift
      ;;
    --acme) acme=yes ;;
    --prebuilt) prebuilt=yes ;;
    --no-packages) packages='' ;;
    --no-start) start='' ;;
    --dry-run) dry=yes ;;
    --undo) undo=yes ;;
    --purge) purge=yes ;;
    --help | -h)
      usage
      exit 0
      ;;
    *) misused "There is no option $option." ;;
  esac
  shift
done

for each in "$port" "$registry_port" "$redis_port"; do
  case $each in
    '' | *[!0-9]* | ??????*) misused "$each is not a port." ;;
  esac
  if [ "$each" -lt 1 ] || [ "$each" -gt 65535 ]; then misused "$each is not a port."; fi
done
# It is written into units and YAML, and a purge removes it: no surprises in it.
case $storage in
  '') ;;
  *[!A-Za-z0-9/._-]* | */../* | */.. | */./* | *//* | */) misused "--registry-storage: $storage must be a plain absolute path, of letters, digits, / . _ and -." ;;
  /*/*) ;;
  *) misused "--registry-storage: $storage must be an absolute path of a folder below another." ;;
esac
case $hosts$ips in *[!A-Za-z0-9.,:_*-]*) misused "--host and --ip take names and addresses with commas, as in registry.example.com,registry." ;; esac
case $first_user in *[!A-Za-z0-9._@-]* | -*) misused "--user: take letters, digits, dots, @, - and _." ;; esac
mirrors=$(printf %s "$mirrors" | tr ',' ' ')
for each in $mirrors; do
  case $each in
    *=http://*[!A-Za-z0-9.:/-]* | *=https://*[!A-Za-z0-9.:/-]* | *=*=* | *=*://*/* | [!a-z0-9]* | *,*) each='' ;;
    *=http://?* | *=https://?*) ;;
    *=*) each='' ;;
  esac
  case ${each%%=*} in
    '' | *[!a-z0-9.:-]*) misused "--mirror takes names of registries, such as docker.io,quay.io, and NAME=URL where one is reached elsewhere." ;;
  esac
done
case $clean_schedule in *[!A-Za-z0-9*/,@\ -]*) misused '--clean-schedule takes a cron expression, such as "30 3 * * *".' ;; esac
case $email in *[!A-Za-z0-9.@_+-]*) misused "--email takes a mail address, as in ops@example.com." ;; esac
[ -z "$email" ] || [ -n "$acme" ] || misused "--email goes with --acme."
if [ -n "$acme" ]; then
  [ -n "$hosts" ] || misused "--acme needs --host with the public names that clients use."
  [ -z "$ips" ] || misused "--acme is for names: leave --ip out."
  for each in $(printf '%s' "$hosts" | tr ',' ' '); do
    case $each in
      '*'* | *[!a-z0-9.-]* | .* | *.) misused "--acme: $each is no public name in lower case." ;;
      *.*) ;;
      *) misused "--acme: $each is no public name, which has a dot." ;;
    esac
  done
fi
[ -z "$purge" ] || [ -n "$undo" ] || misused "--purge goes with --undo."
[ -n "$dry" ] || [ "$(id -u)" = 0 ] || fail "This sets up services: run it as root, as in: sudo $0 (--dry-run says what it would do)."
[ -n "$dry" ] || [ -d /run/systemd/system ] || fail "systemd does not run here, and the services are systemd's: on such a machine, or in a container, see docs/operations/deployment.md."

# What an earlier run noted: value NAME
noted() {
  [ -f "$record" ] || return 0
  sed -n "s/^$1=//p" "$record" | tail -n 1
}
note() {
  [ -z "$dry" ] || return 0
  [ -d "$settings" ] || mkdir -p "$settings"
  if [ -z "$(noted "$1")" ]; then printf '%s=%s\n' "$1" "$2" >>"$record"; fi
}

# The names of the mirrors' routes, those of earlier runs too.
noted_mirrors() { sed -n 's/^mirror_\([a-z0-9-]*\)=.*/\1/p' "$record" 2>/dev/null || true; }
# As in src/cli/mirror/mirror-source.ts: route_of SOURCE
route_of() {
  case $1 in
    docker.io) echo hub ;;
    quay.io) echo quay ;;
    ghcr.io) echo ghcr ;;
    registry.k8s.io) echo k8s ;;
    *) printf '%.32s\n' "${1%%[.:]*}" ;;
  esac
}

# ---------------------------------------------------------------------------------------------------------------- undo

undo_all() {
  say "Stopping the services; transfers under way may take up to shutdown.timeout to end."
  for unit in tidegate tidegate-clean tidegate-registry tidegate-redis; do
    if [ -f "$units/$unit.service" ]; then run systemctl disable --now "$unit.service"; fi
  done
  for mirror in $(noted_mirrors); do
    if [ -f "$units/tidegate-mirror@.service" ]; then run systemctl disable --now "tidegate-mirror@$mirror.service"; fi
  done
  for file in "$units/tidegate.service" "$units/tidegate-registry.service" "$units/tidegate-redis.service" \
    "$units/tidegate-clean.service" "$units/tidegate-mirror@.service" /etc/logrotate.d/tidegate /usr/local/bin/tidegate; do
    if [ -e "$file" ]; then run rm -f "$file"; fi
  done
  for folder in "$units/tidegate.service.d" "$units/tidegate-registry.service.d" "$units/tidegate-redis.service.d" \
    "$units/tidegate-clean.service.d" "$units/tidegate-mirror@.service.d"; do
    if [ -f "$folder/10-installed.conf" ]; then run rm -f "$folder/10-installed.conf"; fi
    if [ -d "$folder" ] && [ -z "$(ls -A "$folder")" ]; then run rmdir "$folder"; fi
  done
  if [ -f "$program/.installed" ]; then run rm -rf "$program" "$program.previous"; fi
  run systemctl daemon-reload

  storage=$(noted storage)
  if [ -z "$purge" ]; then
    say "Removed the services and the program. What is left:"
    say "  $settings  settings, certificates, users"
    say "  ${storage:-the folder of the registry}  images"
    if [ -d "$mirror_storage" ]; then say "  $mirror_storage  images of the mirrors"; fi
    say "  $logs  log files, if there were any"
    say "  $state  what the service remembers: pulls, pushes, uses of machine tokens"
    say "  the system users tidegate, tidegate-registry, tidegate-redis$(if id tidegate-mirror >/dev/null 2>&1; then echo ' and tidegate-mirror'; fi)"
    say "deploy/install.sh sets it up again with them; deploy/install.sh --undo --purge removes them."
    return
  fi
  [ -n "$storage" ] || say "No record of the images' folder in $record: it is left alone."
  if [ -n "$storage" ]; then
    if [ "$(noted storage_made)" = yes ]; then
      run rm -rf "$storage"
    else
      say "$storage was there before Tidegate: it is left alone."
      quarantine=$storage/tidegate-clean
      if [ -n "$(ls -A "$quarantine/runs" 2>/dev/null)" ]; then
        say "$quarantine holds what the clean-up has taken: it is left alone, too."
      elif [ -d "$quarantine" ]; then
        run rm -rf "$quarantine"
      fi
    fi
  fi
  # What was there before, such as a user with the same name, is left alone.
  made=$(sed -n 's/^made_user_//p' "$record" 2>/dev/null | cut -d= -f1)
  run rm -rf "$settings" "$logs" "$state" "$mirror_storage"
  for user in $made; do
    if id "$user" >/dev/null 2>&1; then run userdel "$user"; fi
    if getent group "$user" >/dev/null; then run groupdel "$user"; fi
  done
  say "Removed everything. Packages that were installed stay."
}

if [ -n "$undo" ]; then
  undo_all
  exit 0
fi

# What was chosen once stays chosen.
noted_storage=$(noted storage)
if [ -z "$storage" ]; then storage=${noted_storage:-/var/lib/tidegate-registry}; fi
[ "$storage" = "${noted_storage:-$storage}" ] ||
  fail "The images are in $noted_storage: to move them, stop tidegate and tidegate-registry, move the folder, and change it in $settings/registry.yml, $settings/config/tidegate.yml and $record."
check_credentials() {
  [ -r "$mirror_credentials" ] || fail "--mirror-credentials: $mirror_credentials cannot be read."
  case $(stat -L -c %a "$mirror_credentials") in
    *00) ;;
    *) fail "--mirror-credentials: $mirror_credentials is open to other users of this machine: chmod 600 $mirror_credentials" ;;
  esac
  # What is wrong with it, if anything; a password is no part of that.
  wrong=$(awk -v sources=" $(for each in $chosen; do printf '%s ' "${each#*:}"; done)" '
    /^[[:space:]]*(#|$)/ { next }
    NF < 3 { print "line " NR ": write SOURCE USER PASSWORD, such as: docker.io alice SECRET"; exit }
    index(sources, " " $1 " ") == 0 { print "has credentials for " $1 ", which is not mirrored: name it with --mirror"; exit }
    $1 in seen { print "line " NR " has " $1 " a second time: leave one line"; exit }
    { seen[$1] = 1 }' "$mirror_credentials")
  [ -z "$wrong" ] || fail "--mirror-credentials: $mirror_credentials $wrong."
}
# Every mirror as ROUTE:SOURCE, and the new ones as given.
chosen=$(for each in $(noted_mirrors); do printf ' %s:%s' "$each" "$(noted "mirror_$each")"; done)
new_mirrors=''
for each in $mirrors; do
  route=$(route_of "${each%%=*}")
  case "$chosen " in
    *" $route:${each%%=*} "*) ;;
    *" $route:"*) fail "--mirror: ${each%%=*} would be the route $route, and another source has that name already." ;;
    *)
      chosen="$chosen $route:${each%%=*}"
      new_mirrors="$new_mirrors $each"
      ;;
  esac
done
[ -z "$mirror_credentials" ] || check_credentials
noted_acme=$(noted acme)
again() { if [ -x "$(noted "$1")" ]; then noted "$1"; fi; }
[ -n "$node" ] || node=$(again node)
[ -n "$registry" ] || registry=$(again registry)

# ------------------------------------------------------------------------------------------------------------- what is here

family=''
if [ -r /etc/os-release ]; then
  # shellcheck disable=SC1091 # every system has its own
  family=$(. /etc/os-release && printf ' %s %s ' "${ID:-}" "${ID_LIKE:-}")
fi
case $family in
  *' debian '* | *' ubuntu '*) family=debian ;;
  *' rhel '* | *' fedora '* | *' centos '* | *' rocky '* | *' almalinux '*) family=rhel ;;
  *) fail "This script knows Debian, Ubuntu, RHEL, CentOS, Rocky and Alma only: docs/operations/deployment.md has the steps by hand." ;;
esac

if [ $family = debian ]; then other_way='from NodeSource'; else other_way='with: dnf module install nodejs:22'; fi
get_node="install it as https://nodejs.org/en/download says, or $other_way; or name one with --node"
[ -n "$node" ] || node=$(command -v node || true)
if [ ! -x "$node" ]; then fail "Tidegate needs Node $wanted_node or newer, and there is no ${node:-node}: $get_node."; fi
have_node=$("$node" -p process.versions.node) || fail "$node does not run: $get_node."
"$node" -e 'const [a, b] = [process.argv[1], process.versions.node].map((v) => v.split(".").map(Number));
  process.exit(b[0] > a[0] || (b[0] === a[0] && b[1] >= a[1]) ? 0 : 1)' "$wanted_node" ||
  fail "Tidegate needs Node $wanted_node or newer, and $node is $have_node: $get_node."
# The services see no home directories.
case $(readlink -f "$node") in
  /home/* | /root/*) fail "$node lies in a home directory, which the services can't read: $get_node." ;;
esac
note node "$node"
npm=$(dirname "$node")/npm
[ -x "$npm" ] || npm=$(command -v npm || true)
[ -d "$source/src" ] || prebuilt=yes
if [ -n "$prebuilt" ]; then
  if [ ! -f "$source/dist/main.js" ] || [ ! -d "$source/node_modules" ]; then
    if [ -d "$source/src" ]; then make='npm ci and npm run build'; else make='npm ci --omit=dev --ignore-scripts'; fi
    fail "$source holds no built program (dist/ and node_modules/): run $make there first."
  fi
else
  [ -n "$npm" ] || fail "There is no npm beside $node: install it, or build elsewhere and use --prebuilt."
fi

find_program() {
  for each in "$@"; do
    PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" command -v "$each" && return
  done
  return 0
}
# The unit files that a package has brought, so that they can be kept from running beside ours.
package_units() {
  for each in "$@"; do
    if [ -f "/lib/systemd/system/$each" ] || [ -f "/usr/lib/systemd/system/$each" ]; then printf '%s ' "$each"; fi
  done
}
install_packages() {
  say "Installing: $*"
  if [ $family = debian ]; then
    # The packages' own services must not start: the registry's would be open to the network. invoke-rc.d(8)
    policy=/usr/sbin/policy-rc.d
    # One that is there already stays as it is: somebody wants it so.
    if [ -n "$dry" ] || [ -e $policy ]; then policy=''; fi
    if [ -n "$policy" ]; then
      trap 'rm -f /usr/sbin/policy-rc.d' EXIT
      printf '#!/bin/sh\nexit 101\n' >$policy
      chmod 755 $policy
    fi
    run env DEBIAN_FRONTEND=noninteractive apt-get -q update
    run env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -q -y install --no-install-recommends "$@"
    if [ -n "$policy" ]; then
      rm -f $policy
      trap - EXIT
    fi
  else
    run dnf -y install "$@"
  fi
}

redis=$(find_program redis-server valkey-server)
[ -n "$registry" ] || registry=$(find_program docker-registry registry)
missing=''
if [ -z "$redis" ]; then
  if [ $family = debian ]; then
    missing='redis-server'
  elif dnf -q info redis >/dev/null 2>&1; then
    missing=redis
  else
    missing=valkey
  fi
fi
if [ -z "$registry" ]; then
  if [ $family = debian ]; then missing="$missing docker-registry"; else missing="$missing docker-distribution"; fi
fi
if [ -n "$missing" ]; then
  [ -n "$packages" ] || fail "Missing, and --no-packages was given: install $missing."
  if [ $family = rhel ] && [ -z "$registry" ] && ! dnf -q info docker-distribution >/dev/null 2>&1; then
    fail "No package of this system has a registry: take the program from https://github.com/distribution/distribution/releases, put it in /usr/local/bin, and run this again with --registry /usr/local/bin/registry."
  fi
  had=$(package_units docker-registry.service docker-distribution.service redis-server.service redis.service valkey.service)
  # shellcheck disable=SC2086 # several packages
  install_packages $missing
  for unit in $(package_units docker-registry.service docker-distribution.service redis-server.service redis.service valkey.service); do
    case " $had" in
      *" $unit "*) ;;
      *) run systemctl disable --now "$unit" ;;
    esac
  done
  redis=$(find_program redis-server valkey-server)
  [ -n "$registry" ] || registry=$(find_program docker-registry registry)
fi
if [ -z "$dry" ]; then
  [ -n "$redis" ] || fail "There is neither redis-server nor valkey-server: install one of them."
  [ -x "$registry" ] || fail "${registry:-docker-registry} is no program: name the registry's with --registry."
fi
note registry "$registry"

# On a first run the ports have to be free; later they are our own.
port_is_taken() {
  "$node" -e 'require("net").connect(+process.argv[1], "127.0.0.1").once("connect", () => process.exit(0)).once("error", () => process.exit(1))' "$1"
}
claim() {
  [ -n "$start" ] && [ -z "$dry" ] || return 0
  if [ ! -f "$units/$1.service" ] && port_is_taken "$2"; then
    fail "Port $2 is taken by another program: stop that one, or choose another port with $3."
  fi
}
claim tidegate-registry "$registry_port" "--registry-port"
claim tidegate-redis "$redis_port" "--redis-port"
claim tidegate "$port" "--port"
[ -z "$acme" ] || claim tidegate 80 "none: it is for redirects, and without --acme it is not needed"

# ------------------------------------------------------------------------------------------------------------------- users

nologin=$(find_program nologin)
make_user() {
  if id "$1" >/dev/null 2>&1; then return 0; fi
  run useradd --system --user-group --no-create-home --home-dir /nonexistent --shell "${nologin:-/bin/false}" "$1"
  note "made_user_$1" yes
}
[ -d "$settings" ] || run install -d -m 755 "$settings"
make_user tidegate
make_user tidegate-redis
registry_user=tidegate-registry
registry_group=tidegate-registry
if [ -d "$storage" ] && [ -n "$(ls -A "$storage")" ] && [ "$(noted storage_made)" != yes ]; then
  # Images of another set-up: the registry goes on as whoever owns them.
  registry_user=$(stat -c %U "$storage")
  registry_group=$(stat -c %G "$storage")
  case $registry_user in
    root | UNKNOWN) fail "$storage holds files and belongs to $registry_user: give it to the registry's user first, with: useradd --system tidegate-registry; chown -R tidegate-registry: $storage" ;;
  esac
  note storage_made no
else
  make_user tidegate-registry
  if [ ! -d "$storage" ]; then
    run install -d -m 750 -o tidegate-registry -g tidegate-registry "$storage"
    note storage_made yes
  elif [ "$(noted storage_made)" != yes ]; then
    run chown tidegate-registry:tidegate-registry "$storage"
    run chmod 750 "$storage"
    note storage_made no
  fi
fi
note storage "$storage"
if [ -n "$chosen" ]; then
  make_user tidegate-mirror
  [ -d "$mirror_storage" ] || run install -d -m 755 "$mirror_storage"
  for each in $chosen; do
    folder=$mirror_storage/${each%%:*}
    [ -d "$folder" ] || run install -d -m 750 -o tidegate-mirror -g tidegate-mirror "$folder"
  done
fi

# --------------------------------------------------------------------------------------------------------------- the program

stage=$program.new
program_changed=''
stage_program() {
  rm -rf "$stage"
  mkdir -p "$stage"
  for each in package.json package-lock.json config deploy docs LICENSE README.md README.zh-CN.md ARCHITECTURE.md SECURITY.md CHANGELOG.md; do
    if [ -e "$source/$each" ]; then cp -R "$source/$each" "$stage/"; fi
  done
  # Settings and secrets of the checkout's own: they are not the program's, and not everyone's to read.
  rm -rf "$stage"/config/htpasswd* "$stage"/config/tokens.* "$stage/config/tidegate.yml" "$stage/deploy/.env" "$stage/deploy/kubernetes/secrets"
  if [ -n "$prebuilt" ]; then
    cp -R "$source/dist" "$source/node_modules" "$stage/"
    if [ -d "$stage/node_modules/typescript" ]; then
      [ -n "$npm" ] || fail "node_modules/ holds what only development needs, and there is no npm to take it out: run npm prune --omit=dev there."
      (cd "$stage" && "$node" "$(readlink -f "$npm")" prune --omit=dev --offline --ignore-scripts --no-audit --no-fund >/dev/null)
    fi
  else
    cp -R "$source/src" "$source/tsconfig.json" "$stage/"
    (
      cd "$stage"
      PATH="$(dirname "$node"):$PATH"
      "$npm" ci --include=dev --ignore-scripts --no-audit --no-fund --prefer-offline
      "$npm" run build
      "$npm" prune --omit=dev --ignore-scripts --no-audit --no-fund
    ) >"$stage/build.log" 2>&1 || fail "The program could not be built, see $stage/build.log; where there is no network, build elsewhere and use --prebuilt."
    rm -rf "$stage/src" "$stage/tsconfig.json" "$stage/build.log"
  fi
  rm -rf "$stage/node_modules/.cache"
  rm -f "$stage/dist/.tsbuildinfo" "$stage/dist/.built-from" "$stage/node_modules/.package-lock.json"
  : >"$stage/.installed"
  chown -R root:root "$stage"
  chmod -R u+rwX,go+rX,go-w "$stage"
}
say "Program in $program"
if [ -e "$program" ] && [ ! -f "$program/.installed" ]; then
  fail "$program is there and was not made by this script: move it away first."
fi
if [ -n "$dry" ]; then
  say "would put the program into $program"
else
  stage_program
  if [ -d "$program" ] && diff -qr "$stage" "$program" >/dev/null; then
    rm -rf "$stage"
  else
    program_changed=yes
    rm -rf "$program.previous"
    if [ -d "$program" ]; then mv "$program" "$program.previous"; fi
    mv "$stage" "$program"
  fi
fi
here=$program
[ -z "$dry" ] || here=$source

# ---------------------------------------------------------------------------------------------------------------- settings

changed=''
# Writes a file from standard input, if it is not so already: put MODE OWNER:GROUP FILE; notes in $changed that it did.
put() {
  new=$(mktemp)
  cat >"$new"
  if [ -f "$3" ] && cmp -s "$new" "$3"; then
    rm -f "$new"
    return 0
  fi
  changed="$changed $3"
  if [ -n "$dry" ]; then
    say "would write $3"
    rm -f "$new"
    return 0
  fi
  mkdir -p "$(dirname "$3")"
  install -m "$1" -o "${2%:*}" -g "${2#*:}" "$new" "$3.new"
  mv -f "$3.new" "$3"
  rm -f "$new"
}
# The same for what belongs to the operator once it is there.
put_once() {
  if [ -f "$3" ]; then
    cat >/dev/null
    return 0
  fi
  put "$@"
}
# Secrets go from one program to the next by pipes and files alone: anybody may read a command line. printf is the shell's own.
secret() { od -An -N 32 -tx1 /dev/urandom | tr -d ' \n'; }
tidegate() { (cd "$settings" && "$node" "$program/dist/main.js" "$@"); }

say "Settings in $settings"
printf 's|secret: .*|secret: %s|\n' "$(secret)" |
  sed -e "s|rootdirectory: .*|rootdirectory: $storage|" -e "s|addr: 127.0.0.1:5000|addr: 127.0.0.1:$registry_port|" \
    -f /dev/stdin "$here/deploy/registry/filesystem.yml" |
  put_once 640 "root:$registry_group" "$settings/registry.yml"

password=$(secret)
if [ -f "$settings/config/tidegate.yml" ]; then
  password=''
  say "  kept config/tidegate.yml as it is"
  if [ -n "$clean_schedule" ] && [ "$clean_schedule" != "$(noted clean_schedule)" ]; then
    fail "config/tidegate.yml is there, and is yours: write clean: { schedule: '$clean_schedule' } into it, then systemctl restart tidegate-clean, and run this again without --clean-schedule."
  fi
  if [ -n "$acme" ] && [ -z "$noted_acme" ]; then
    fail "config/tidegate.yml is there, and is yours: replace cert and key under tls by acme: { hosts: [$hosts] }, add httpPort: 80 under listen, put acme=$hosts into $record, and run this again without --acme."
  fi
else
  shown_schedule=null
  [ -z "$clean_schedule" ] || shown_schedule="'$clean_schedule'"
  printf 's|password: CHANGE-ME|password: %s|\n' "$password" |
    sed -e "s|^  port: 443|  port: $port|" -e "s|url: http://127.0.0.1:5000|url: http://127.0.0.1:$registry_port|" \
      -e "s|storage: .*|storage: $storage|" -e "s|schedule: null|schedule: $shown_schedule|" -e "s|redis://127.0.0.1:6390|redis://127.0.0.1:$redis_port|" \
      -f /dev/stdin "$here/deploy/tidegate.yml" |
    if [ -z "$acme" ]; then cat; else
      sed -e "s|^  port: .*|&\n  httpPort: 80 # leads to https|" \
        -e "s|^  cert: .*|  acme: # ordered and renewed by Tidegate itself: docs/certificates.md\n    hosts: [$hosts]${email:+\n    email: $email}|" \
        -e '/^  key: /d'
    fi |
    put 640 root:tidegate "$settings/config/tidegate.yml"
  if [ -n "$acme" ]; then note acme "$hosts"; fi
  if [ -n "$clean_schedule" ]; then note clean_schedule "$clean_schedule"; fi
fi
if [ -n "$password" ]; then
  # Redis keeps no more than the password's hash. https://redis.io/docs/latest/commands/acl-setuser/
  hash=$(printf %s "$password" | sha256sum | cut -d' ' -f1)
  put 640 root:tidegate-redis "$settings/redis.acl" <<END
user default off
user tidegate on #$hash ~tidegate:* resetchannels -@all +@connection +info +@scripting +@read +@write +time
END
fi
put_once 644 root:root "$settings/redis.conf" <<END
# The Redis of Tidegate's cache. What is not said here is as in the file that it includes.
include $program/deploy/redis.conf
port $redis_port
aclfile $settings/redis.acl
dir /run/tidegate-redis
END

# Ports of mirrors are 5001 and those after it that are free.
next_port() {
  last_port=$((last_port + 1))
  case " $registry_port $redis_port $port " in *" $last_port "*) next_port ;; esac
  if port_is_taken "$last_port"; then next_port; fi
}
last_port=$(sed -n 's/^port_of_mirror_[a-z0-9-]*=//p' "$record" 2>/dev/null | sort -n | tail -n 1)
last_port=${last_port:-5000}
new_routes=''
for each in $new_mirrors; do
  source_name=${each%%=*}
  route=$(route_of "$source_name")
  url=${each#"$source_name"}
  url=${url#=}
  if [ -z "$url" ]; then
    url=https://$source_name
    [ "$source_name" != docker.io ] || url=https://registry-1.docker.io
  fi
  next_port
  printf 's|secret: .*|secret: %s|\n' "$(secret)" |
    sed -e "s|/var/lib/tidegate-mirror/hub|$mirror_storage/$route|" -e "s|addr: 127.0.0.1:5001|addr: 127.0.0.1:$last_port|" \
      -e "s|remoteurl: .*|remoteurl: $url|" -f /dev/stdin "$here/deploy/registry/mirror.yml" |
    put_once 640 root:tidegate-mirror "$settings/mirrors/$route.yml"
  note "mirror_$route" "$source_name"
  note "port_of_mirror_$route" "$last_port"
  new_routes="$new_routes
  - name: $route # docker pull HOST/$route/…
    repositories: ['$route/**']
    stripPrefix: $route
    namespaces: ['$source_name'] # tidegate mirror steps
    readOnly: true
    upstream:
      url: http://127.0.0.1:$last_port
      storage: $mirror_storage/$route
      readTimeout: 60s"
done
# Puts new credentials into the configuration of each mirror that they are for; what awk prints is for sed alone to read.
for each in $chosen; do
  if [ -z "$mirror_credentials" ] || [ ! -f "$settings/mirrors/${each%%:*}.yml" ]; then continue; fi
  updated=$(mktemp)
  awk -v source="${each#*:}" '
    function quoted(text) { gsub(/'"'"'/, "&&", text); gsub(/[\\&|]/, "\\\\&", text); return "'"'"'" text "'"'"'" }
    $1 == source {
      print "s|^  username: .*|  username: " quoted($2) "|"
      sub(/^[[:space:]]*[^[:space:]]+[[:space:]]+[^[:space:]]+[[:space:]]+/, "")
      sub(/[[:space:]]+$/, "")
      print "s|^  password: .*|  password: " quoted($0) "|"
    }' "$mirror_credentials" |
    sed -f /dev/stdin "$settings/mirrors/${each%%:*}.yml" >"$updated"
  put 640 root:tidegate-mirror "$settings/mirrors/${each%%:*}.yml" <"$updated"
  rm -f "$updated"
done
# The operator's own configuration gets new routes at its end, if they can stand there.
if [ -n "$new_routes" ]; then
  routes_key='routes:'
  if [ -f "$settings/config/tidegate.yml" ]; then
    last_key=$(sed -n 's/^\([a-zA-Z].*\)$/\1/p' "$settings/config/tidegate.yml" | tail -n 1)
    case $last_key in routes:*) routes_key='' ;; esac
  fi
  [ -z "$routes_key" ] || routes_key="
# Further registries under this name: docs/mirrors.md
$routes_key"
  if [ -n "$dry" ]; then
    say "would add the routes of the mirrors to $settings/config/tidegate.yml"
  else
    candidate=$(mktemp "$settings/config/tidegate.yml.XXXXXX")
    { cat "$settings/config/tidegate.yml" && printf '%s%s\n' "$routes_key" "$new_routes"; } >"$candidate"
    # One that has just been written needs no check, and its certificate is not there yet.
    if [ -n "$password" ] || tidegate config check --config "$candidate" >/dev/null 2>&1; then
      put 640 root:tidegate "$settings/config/tidegate.yml" <"$candidate"
      say "  added the routes of the mirrors to config/tidegate.yml"
      if grep -q '^policy:' "$candidate"; then say "  the policy there decides who may pull from them"; fi
    else
      say "Add to $settings/config/tidegate.yml, where this can't be done for you:"
      printf 'routes:%s\n' "$new_routes"
    fi
    rm -f "$candidate"
  fi
fi
put_once 640 root:tidegate "$settings/config/htpasswd" </dev/null
put_once 640 root:tidegate "$settings/config/tokens.yml" </dev/null
# The service writes when machine tokens were used last, and may write nothing below /etc.
if [ ! -e "$settings/config/tokens.used.json" ] && [ ! -L "$settings/config/tokens.used.json" ]; then
  run ln -s "$state/tokens.used.json" "$settings/config/tokens.used.json"
fi
# The same for state.dir, with the record of what is pulled and pushed.
[ -d "$state" ] || run install -d -m 750 -o tidegate -g tidegate "$state"
[ -d "$settings/var" ] || run install -d -m 755 "$settings/var"
if [ ! -e "$settings/var/state" ] && [ ! -L "$settings/var/state" ]; then
  run ln -s "$state" "$settings/var/state"
fi
# The same for the folder of clean.socket, which the cleaner's unit makes.
if [ ! -e "$settings/var/clean" ] && [ ! -L "$settings/var/clean" ]; then
  run ln -s /run/tidegate-clean "$settings/var/clean"
fi

say "Certificate"
acme_hosts=$(noted acme)
[ -z "$dry" ] || [ -z "$acme" ] || acme_hosts=$hosts
if [ -n "$acme_hosts" ]; then
  say "  ordered by Tidegate for $acme_hosts; further names: tls.acme.hosts in config/tidegate.yml"
elif [ -z "$hosts$ips" ] && [ ! -f "$settings/certs/server.crt" ]; then
  hosts=$(hostname -f 2>/dev/null || hostname),localhost
  ips=127.0.0.1,::1
fi
if [ -n "$acme_hosts" ]; then
  :
elif [ -n "$dry" ]; then
  say "would make a certificate for $hosts${ips:+,$ips}, unless there is one"
elif [ ! -f "$settings/certs/server.crt" ]; then
  tidegate cert create ${hosts:+--host "$hosts"} ${ips:+--ip "$ips"}
else
  present=$(tidegate cert show | sed -n '/server\.crt$/,$s/^  names *//p' | head -n 1 | tr -d ' ')
  further=''
  for name in $(printf '%s' "$hosts${hosts:+,}$ips" | tr ',' ' '); do
    case ",$present," in *",$name,"*) ;; *) further="$further,$name" ;; esac
  done
  if [ -n "$further" ]; then
    tidegate cert create --host "$present$further"
    changed="$changed certs/server.crt"
  else
    say "  kept, for $present"
  fi
fi
if [ -f "$settings/certs/server.key" ] && [ -z "$dry" ]; then
  # The service reads the key itself, also when it is told to reload.
  chgrp tidegate "$settings/certs/server.key"
  chmod 640 "$settings/certs/server.key"
fi

first_password=''
if [ -z "$dry" ] && [ -z "$(tidegate user list 2>/dev/null)" ]; then
  first_password=$(od -An -N 15 -tx1 /dev/urandom | tr -d ' \n')
  printf '%s\n' "$first_password" | tidegate user add "$first_user" >/dev/null
fi

show_first_user() {
  [ -n "$first_password" ] || return 0
  say "user: $first_user"
  say "password: $first_password"
  say "The password is shown this once. More users, or a new password: tidegate user add NAME"
}

# ---------------------------------------------------------------------------------------------------------------- services

say "Services"
for unit in tidegate-redis tidegate-registry tidegate-clean tidegate; do
  put 644 root:root "$units/$unit.service" <"$here/deploy/$unit.service"
done
service_user() { printf 'User=%s\nGroup=%s\n' "$1" "$2"; }
put 644 root:root "$units/tidegate-redis.service.d/10-installed.conf" <<END
# Written by deploy/install.sh: what differs on this machine. Your own changes: systemctl edit tidegate-redis
[Service]
ExecStart=
ExecStart=$redis $settings/redis.conf
END
put 644 root:root "$units/tidegate-registry.service.d/10-installed.conf" <<END
# Written by deploy/install.sh: what differs on this machine. Your own changes: systemctl edit tidegate-registry
[Service]
$(service_user "$registry_user" "$registry_group")
ExecStart=
ExecStart=$registry serve $settings/registry.yml
ReadWritePaths=$storage
END
if [ -n "$chosen" ]; then
  put 644 root:root "$units/tidegate-mirror@.service" <"$here/deploy/tidegate-mirror@.service"
  put 644 root:root "$units/tidegate-mirror@.service.d/10-installed.conf" <<END
# Written by deploy/install.sh: what differs on this machine. Your own changes: systemctl edit tidegate-mirror@
[Service]
ExecStart=
ExecStart=/bin/sh $program/deploy/mirror.sh $registry $settings/mirrors/%i.yml
END
fi
node_path=$(readlink -f "$node")
put 644 root:root "$units/tidegate-clean.service.d/10-installed.conf" <<END
# Written by deploy/install.sh: what differs on this machine. Your own changes: systemctl edit tidegate-clean
[Service]
$(service_user "$registry_user" "$registry_group")
ExecStart=
ExecStart=$node_path $program/dist/main.js clean serve --config \${CREDENTIALS_DIRECTORY}/tidegate.yml
ReadWritePaths=$storage
END
put 644 root:root "$units/tidegate.service.d/10-installed.conf" <<END
# Written by deploy/install.sh: what differs on this machine. Your own changes: systemctl edit tidegate
[Service]
# The registry's files are for its group.
SupplementaryGroups=$registry_group${chosen:+ tidegate-mirror}
ExecStart=
ExecStart=$node_path $program/dist/main.js serve --config config/tidegate.yml
ExecReload=
ExecReload=$node_path $program/dist/main.js config check --config config/tidegate.yml
ExecReload=/bin/sh -c 'kill -HUP \$MAINPID'
END
put 644 root:root /etc/logrotate.d/tidegate <"$here/deploy/tidegate.logrotate"
put 755 root:root /usr/local/bin/tidegate <<END
#!/bin/sh
# Written by deploy/install.sh. Relative paths are relative to $settings, as they are for the service.
cd $settings || exit 1
if [ -r environment ]; then
  set -a
  . ./environment
  set +a
fi
exec $node_path $program/dist/main.js "\$@"
END
if command -v restorecon >/dev/null; then run restorecon -RF "$program" "$settings" /usr/local/bin/tidegate; fi

# A registry whose images are elsewhere has nothing that the cleaner could look after.
clean_unit=tidegate-clean.service
[ -n "$dry" ] || case $(tidegate config show | sed -n -e '/^upstream:/,/^[a-z]/s/^  storage: \(null\).*/\1/p' -e 's/^  collector: \(\[\]\).*/\1/p' | tr '\n' ' ') in
  'null [] ') clean_unit='' ;;
esac
mirror_units=$(for each in $chosen; do printf ' tidegate-mirror@%s.service' "${each%%:*}"; done)
if [ -z "$start" ]; then
  run systemctl daemon-reload
  show_first_user
  say "Set up. Start it with: systemctl enable --now tidegate-redis tidegate-registry$mirror_units${clean_unit:+ $clean_unit} tidegate"
  exit 0
fi
run systemctl daemon-reload
# shellcheck disable=SC2086 # one or several mirrors, or none
run systemctl enable tidegate-redis.service tidegate-registry.service $mirror_units $clean_unit tidegate.service
has_changed() {
  case $changed in *"$1"*) return 0 ;; esac
  return 1
}
control() { run systemctl "$1" "$2.service" || fail "systemctl $1 $2 failed: journalctl -u $2 says why."; }
# Only what has changed is interrupted.
for name in redis registry; do
  if has_changed $name; then control restart tidegate-$name; else control start tidegate-$name; fi
done
for each in $chosen; do
  name=mirror@${each%%:*}
  if has_changed tidegate-mirror@ || has_changed "/mirrors/${each%%:*}.yml"; then
    control restart "tidegate-$name"
  else
    control start "tidegate-$name"
  fi
done
# It has read its settings at its start.
if [ -z "$clean_unit" ]; then
  :
elif [ -n "$program_changed" ] || has_changed tidegate-clean || has_changed config/tidegate.yml; then
  control restart tidegate-clean
else
  control start tidegate-clean
fi
if [ -n "$program_changed" ] || has_changed /tidegate.service; then
  say "  (re)starting tidegate; transfers under way may take up to shutdown.timeout to end"
  control restart tidegate
else
  control start tidegate
  if has_changed certs/server.crt || has_changed config/tidegate.yml; then control reload tidegate; fi
fi
[ -z "$dry" ] || exit 0

# --------------------------------------------------------------------------------------------------------------- does it work?

shown=$(tidegate config show)
port=$(printf '%s\n' "$shown" | sed -n '/^listen:/,/^[a-z]/s/^  port: \([0-9]*\).*/\1/p' | head -n 1)
host=${acme_hosts%%,*}
[ -n "$host" ] || host=$(tidegate cert show | sed -n '/server\.crt$/,$s/^  names *\([^,]*\).*/\1/p' | head -n 1)
case $shown in
  *'clientCa: null'*)
    # The version check needs no password, and a 200 comes from the registry. Whose certificate it is does not matter here.
    "$node" -e '
      const until = Date.now() + 60000;
      (function ask() {
        const again = (why) => {
          if (Date.now() < until) return setTimeout(ask, 500);
          console.error(why);
          process.exit(1);
        };
        require("https")
          .get({ host: "127.0.0.1", port: process.argv[1], path: "/v2/", rejectUnauthorized: false, timeout: 5000 }, (answer) => {
            answer.resume();
            if ([200, 401].includes(answer.statusCode)) process.exit(0);
            again("status " + answer.statusCode);
          })
          .on("timeout", function () { this.destroy(new Error("no answer")); })
          .on("error", (error) => again(error.message));
      })();' "$port" ||
      fail "Everything is set up, but Tidegate does not answer on port $port: journalctl -u tidegate -u tidegate-registry says why."
    ;;
esac

# As it stands in image names: a name without a dot would be taken for one of Docker Hub.
registry_name=$host:$port
case $port:$host in 443:*.* | 443:localhost) registry_name=$host ;; esac
say ""
say "Tidegate runs at https://$registry_name"
show_first_user
if [ -n "$acme_hosts" ]; then
  say "Its certificate is ordered now, by itself: tidegate cert show says how that fares, tidegate doctor what is in the way."
else
  say "Clients have to trust $settings/certs/ca.crt: tidegate cert trust --port $port"
fi
for each in $chosen; do
  say "Mirror of ${each#*:}: images are at $registry_name/${each%%:*}/…; for its own names on clients: tidegate mirror steps"
done
if [ -n "$acme_hosts" ]; then
  say "Keep a copy of $settings."
else
  say "Keep a copy of $settings, and of $settings/certs/ca.key in another place."
fi
say "docker login $registry_name"
