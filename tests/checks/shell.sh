#!/bin/sh
# Every shell script passes shellcheck.
set -eu
cd "$1"
# shellcheck disable=SC2046
shellcheck $(grep -lE "^#!/bin/(ba)?sh" scripts/* scripts/system/* scripts/debian/* .ci/* tests/checks/* tests/e2e/* 2>/dev/null)
echo good
