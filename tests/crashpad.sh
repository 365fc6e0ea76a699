#!/bin/sh
# Fetches Chromium's Crashpad client into .cache: the real client that crash tests upload with. Nothing is installed.
set -eu
cd "$(dirname "$0")/.."
folder=.cache/chromium-common
[ -x "$folder/x/usr/lib/chromium/chrome_crashpad_handler" ] && exit 0
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || {
    echo "No apt-get here: the tests with the real Crashpad client will be skipped."
    exit 0
}
mkdir -p "$folder"
cd "$folder"
apt-get download -qq chromium-common 2>/dev/null || {
    [ "$(id -u)" = 0 ] && apt-get update -qq && apt-get download -qq chromium-common
} || {
    echo "chromium-common could not be fetched: the tests with the real Crashpad client will be skipped."
    exit 0
}
mkdir -p x
for package in chromium-common_*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C x ./usr/lib/chromium/chrome_crashpad_handler
done
rm -f chromium-common_*.deb
