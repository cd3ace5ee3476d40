#!/usr/bin/env bash
# build.sh [DIRECTORY]: builds the Debian package into DIRECTORY (the current one unless given) and prints its path. Needs npm and
# dpkg-deb, not root. The package has what the npm package has and the libraries of package-lock.json.
set -euo pipefail
umask 022
project=$(cd "$(dirname "$0")/../.." && pwd -P)
out=$(cd "${1:-.}" && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Packing builds.
cd "$project"
npm pack --silent --pack-destination "$work" >"$work/packing" 2>&1 || { cat "$work/packing" >&2; exit 1; }
tar -xzf "$work"/mesos-module-flocker-*.tgz -C "$work"
cp package-lock.json "$work/package"
npm ci --prefix "$work/package" --omit=dev --ignore-scripts --prefer-offline --no-audit --no-fund >"$work/installing" 2>&1 ||
  { cat "$work/installing" >&2; exit 1; }

version=$(node -p 'require(process.argv[1]).version' "$work/package/package.json")
architecture=$(dpkg --print-architecture)
root=$work/root
home=$root/usr/lib/mesos-module-flocker
doc=$root/usr/share/doc/mesos-module-flocker
mkdir -p "$root/DEBIAN" "$root/usr/bin" "$root/usr/lib/systemd/system" "$root/var/lib/flocker" "$root/etc/flocker" "$doc"
chmod 0711 "$root/var/lib/flocker"
chmod 0700 "$root/etc/flocker"

cp packaging/systemd/*.service "$root/usr/lib/systemd/system"
mv "$work/package/docs" "$work/package/examples" "$work/package/README.md" "$doc"
gzip -9n <"$work/package/CHANGELOG.md" >"$doc/CHANGELOG.md.gz"
# What Debian wants of a changelog, which is of the packaging.
gzip -9n >"$doc/changelog.gz" <<END
mesos-module-flocker ($version) unstable; urgency=medium

  * What is new stands in CHANGELOG.md.gz.

 -- $(sed -n 's/^Maintainer: //p' packaging/deb/control)  $(date --rfc-email --reference=CHANGELOG.md)
END
cp packaging/deb/copyright "$doc/copyright"
mkdir -p "$home"
for part in dist isolator-module node_modules package.json; do mv "$work/package/$part" "$home"; done
# What only those who compile or develop the libraries need, or other systems.
rm -rf "$home"/node_modules/{.package-lock.json,.bin} "$home"/node_modules/classic-level/{deps,binding.cc,binding.gyp} \
  "$home"/node_modules/fastify/integration "$home"/node_modules/pino/index.html "$home"/node_modules/secure-json-parse/benchmarks
of_this_machine=linux-$(node -p process.arch)
find "$home/node_modules/classic-level/prebuilds" -mindepth 1 -maxdepth 1 ! -name "$of_this_machine" -exec rm -r {} +
find "$home/node_modules" -path '*musl*' -name '*.node' -delete
find "$home/node_modules" \( -name '*.d.ts' -o -name '*.map' -o -name '.npmignore' -o -name '.gitignore' -o -name '.gitattributes' \
  -o -name '.eslintrc*' -o -name 'eslint.config.*' \) -delete
# None of them is started as a program.
find "$home/node_modules" -type f -exec chmod 0644 {} +
for program in dvdcli flocker flocker-ca flockerctl; do
  chmod 0755 "$home/dist/src/bin/$program.js"
  ln -s "../lib/mesos-module-flocker/dist/src/bin/$program.js" "$root/usr/bin/$program"
done

sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" \
  -e "s/@INSTALLED_KIB@/$(du -sk --apparent-size "$root" | cut -f1)/" packaging/deb/control >"$root/DEBIAN/control"
install -m 0755 packaging/deb/postinst packaging/deb/prerm packaging/deb/postrm "$root/DEBIAN"
(cd "$root" && find usr -type f -exec md5sum {} + | sort -k 2 >DEBIAN/md5sums)
package=$out/mesos-module-flocker_${version}_$architecture.deb
dpkg-deb --build --root-owner-group "$root" "$package" >/dev/null
echo "$package"
