#!/bin/sh
# Every header compiles alone. Arguments: the root, then the compiler and the libraries' flags.
set -eu
root=$1
shift
cd "$root"
status=0
for header in protocol/*.h store/*.h store/internal/*.h server/*.h; do
    "$@" -std=gnu17 -D_GNU_SOURCE -I. -fsyntax-only -Wno-pragma-once-outside-header -x c "$header" ||
        { echo "$header does not compile alone"; status=1; }
done
[ "$status" -ne 0 ] || echo good
exit $status
