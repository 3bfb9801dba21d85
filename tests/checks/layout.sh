#!/bin/sh
# The top level holds what it should and nothing else (dot files and what git ignores aside).
set -eu
cd "$1"
expected='LICENSE README.md meson.build protocol scripts server store tests'
if git rev-parse --git-dir >/dev/null 2>&1; then
    found=$( (git ls-files; git ls-files --others --exclude-standard) | cut -d/ -f1)
else
    found=$(find . -mindepth 1 -maxdepth 1 ! -name 'build*' -printf '%P\n')
fi
found=$(printf '%s\n' "$found" | grep -v '^\.' | LC_ALL=C sort -u | paste -sd ' ')
if [ "$found" != "$expected" ]; then
    printf 'top level: %s\nexpected:  %s\n' "$found" "$expected"
    exit 1
fi
echo good
