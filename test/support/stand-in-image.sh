#!/bin/sh
# A root folder with this machine's Node, npm and a few programs, to stand in for the official image of Node where none can be
# had: stand-in-image.sh DIR
set -eu
base=$1
mkdir -p "$base/usr/bin" "$base/usr/lib/node_modules" "$base/usr/lib64" "$base/etc" "$base/root" "$base/proc" "$base/dev" "$base/var/lib" "$base/opt" "$base/tmp"
chmod 1777 "$base/tmp"
for each in bin lib lib64 sbin; do ln -s "usr/$each" "$base/$each"; done
ln -s bin "$base/usr/sbin"
for program in node sh env mkdir chown rm cat; do
  file=$(readlink -f "$(command -v "$program")")
  cp "$file" "$base/usr/bin/$program"
  ldd "$file" 2>/dev/null | grep -o '/[^ ]*'
done | sort -u | while read -r library; do
  mkdir -p "$base$(dirname "$library")"
  cp -L "$library" "$base$library"
done
cp -R "$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")" "$base/usr/lib/node_modules/npm"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$base/usr/bin/npm"
printf 'root:x:0:0::/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n' >"$base/etc/passwd"
printf 'root:x:0:\nnode:x:1000:\n' >"$base/etc/group"
# Where packages come from, and whom to trust for it, is as on this machine.
printf 'registry=%s\n' "$(npm config get registry 2>/dev/null)" >"$base/root/.npmrc"
cp /etc/ssl/certs/ca-certificates.crt "$base/etc/ca.crt"
