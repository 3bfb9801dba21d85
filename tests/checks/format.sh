#!/bin/sh
# Every C file is as clang-format leaves it.
set -eu
cd "$1"
find protocol store server tests -name '*.[ch]' -print0 | sort -z |
    xargs -0 -P 2 -n 20 clang-format --dry-run -Werror
