#!/usr/bin/env bash
# Unpacks Asterisk and SIPp from a Debian suite into a directory of its own, in some 15 s:
#   install.sh PREFIX     →  PREFIX/bin/asterisk, PREFIX/bin/sipp, PREFIX/env (where modules and data lie),
#                            PREFIX/versions.txt (each package with version and SHA-256)
#
# Nothing is installed on the host: no package database, no maintainer scripts, no root. Mirror, proxies and keyrings are
# those of the machine's own apt. Programs run through the suite's own dynamic loader, so any glibc of the host will do.
# Exit code 2: this host can't have it; the one line on standard error says why.

set -euo pipefail
# forky and sid have Asterisk 22, with exact SIP codes in ARI; bullseye has 16, which tells Q.850 causes only.
SUITES=${ASTERISK_SUITES:-forky sid bullseye}
PREFIX=$(mkdir -p "$1" && cd "$1" && pwd)
DEBS=$PREFIX/debs
WORK=$PREFIX/apt

cannot() {
  printf '%s\n' "$*" >&2
  exit 2
}

for tool in apt-get apt-cache dpkg dpkg-deb tar xargs; do
  command -v "$tool" >/dev/null || cannot "a Debian or Ubuntu is needed ($tool is missing)"
done

# The Debian mirror this machine uses: the main archive by its Release file, else by its path.
mirror() {
  apt-get indextargets --format '$(SITE)|$(ORIGIN)|$(LABEL)' 'Created-By: Packages' | sed 's:/*|:|:' |
    awk -F'|' '$2=="Debian" && $3=="Debian" { print $1; found=1; exit }
               $1 ~ /\/debian$/ && !other { other=$1 }
               END { if (!found && other) print other }'
}
MIRROR=$(mirror)
[ -n "$MIRROR" ] || cannot 'apt knows no Debian mirror'
KEYRING=$(ls /usr/share/keyrings/debian-archive-keyring.gpg /usr/share/keyrings/debian-archive-keyring.pgp 2>/dev/null | sed -n 1p) || true
[ -n "$KEYRING" ] || cannot 'the package debian-archive-keyring is needed'

rm -rf "$WORK" "$PREFIX/root.new"
mkdir -p "$WORK/lists/partial" "$WORK/cache/archives/partial" "$DEBS/partial"
: >"$WORK/status"
apt=(-o "Dir::Etc::SourceList=$WORK/sources.list" -o Dir::Etc::SourceParts=/dev/null
  -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
  -o "Dir::State=$WORK" -o "Dir::State::Lists=$WORK/lists" -o "Dir::State::status=$WORK/status"
  -o "Dir::Cache=$WORK/cache" -o "Dir::Cache::Archives=$DEBS"
  -o APT::Sandbox::User= -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
  -o Acquire::Retries=3 -o APT::Install-Recommends=false -o Debug::NoLocking=1)

suite=
for candidate in $SUITES; do
  echo "deb [signed-by=$KEYRING] $MIRROR $candidate main" >"$WORK/sources.list"
  if apt-get "${apt[@]}" -qq update >"$WORK/update.log" 2>&1 &&
    apt-cache "${apt[@]}" show asterisk >/dev/null 2>&1; then
    suite=$candidate
    break
  fi
done
[ -n "$suite" ] || cannot "none of the suites $SUITES can be had with an asterisk in it from the Debian mirror of this machine"

# All that they need on an empty system, but for programs that nobody runs here.
skipped='^(perl|perl-base|perl-modules.*|libperl.*|python3.*|libpython3.*|gnupg.*|gpg.*|dirmngr|pinentry-.*|passwd|adduser|login\.defs|base-passwd|debconf|tzdata|media-types|netbase|libdebconfclient0|libpam-modules.*|libsnmp-base|freetds-common|openssl-provider-legacy|libc-gconv-modules-extra|.*-doc|lsb-base|sysvinit-utils|readline-common|libsensors-config|libnss-nis.*|pci\.ids)$'
apt-get "${apt[@]}" -s install asterisk sip-tester >"$WORK/plan"
awk '$1 == "Inst" { version=$3; sub(/^\(/, "", version); print $2 "=" version }' "$WORK/plan" |
  awk -F= -v skipped="$skipped" '$1 !~ skipped' | sort >"$WORK/wanted"
(cd "$DEBS" && xargs -a "$WORK/wanted" apt-get "${apt[@]}" -qq download)

# Unpacked beside the old one and then swapped in. /lib and its like are links, so that all packages land below /usr.
root=$PREFIX/root.new
mkdir -p "$root"
for dir in bin sbin lib lib64; do
  mkdir -p "$root/usr/$dir"
  ln -s "usr/$dir" "$root/$dir"
done
: >"$PREFIX/versions.txt"
while IFS== read -r package version; do
  file=$(find "$DEBS" -maxdepth 1 -name "${package}_$(printf %s "$version" | sed 's/:/%3a/g')_*.deb" | sed -n 1p)
  dpkg-deb --fsys-tarfile "$file" | tar -x -C "$root" --keep-directory-symlink --no-same-owner \
    --exclude='./usr/share/doc' --exclude='./usr/share/man' --exclude='./usr/share/locale' --exclude='./usr/share/lintian'
  printf '%s %s %s %s\n' "$suite" "$package" "$version" "$(sha256sum "$file" | cut -d' ' -f1)" >>"$PREFIX/versions.txt"
done <"$WORK/wanted"
rm -rf "$PREFIX/root"
mv "$root" "$PREFIX/root"
root=$PREFIX/root

loader=$(find "$root/usr/lib" "$root/usr/lib64" -name 'ld-linux*.so.*' \( -type f -o -type l \) | sed -n 1p)
libraries=$(find "$root/usr/lib" -maxdepth 1 -type d -name '*-linux-gnu*' | sed -n 1p)
mkdir -p "$PREFIX/bin"
for program in sbin/asterisk bin/sipp; do
  start=$PREFIX/bin/${program#*/}
  printf '#!/bin/sh\nexec "%s" --library-path "%s:%s/pulseaudio:%s/usr/lib" "%s/usr/%s" "$@"\n' \
    "$loader" "$libraries" "$libraries" "$root" "$root" "$program" >"$start"
  chmod +x "$start"
done
[ -e "$root/usr/share/asterisk/sounds/en" ] || ln -s en_US_f_Allison "$root/usr/share/asterisk/sounds/en"
rm -rf "$WORK" "$DEBS"
# Last: whoever finds it has a whole installation.
printf 'AST_MODULES=%s\nAST_DATA=%s\n' \
  "$(find "$root/usr/lib" -type d -path '*asterisk/modules' | sed -n 1p)" "$root/usr/share/asterisk" >"$PREFIX/env"
