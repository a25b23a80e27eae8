#!/bin/sh
# The C modules under AddressSanitizer and UndefinedBehaviorSanitizer, with the tables that both
# engines share; or, with --coverage, which of their lines those tables reach (95 % must be).
#
#   tests/sanitize.sh [--coverage]        PYTHON=... and CC=... choose the interpreter and the compiler
#
# It works on a copy: nothing in the tree is built or changed. gcc and the test extras are needed.
set -eu

python=${PYTHON:-python3}
cc=${CC:-gcc}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/tests"
cp -r "$root/pyproject.toml" "$root/fastws" "$work"
cp -r "$root/tests/protocol" "$root/tests/blocks.py" "$root/tests/test_fanout.py" "$work/tests"
find "$work" -name '*.so' -delete
cd "$work"

if [ "${1:-}" = --coverage ]; then
    flags="-O0 --coverage"
else
    flags="-O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
fi
include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
suffix=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
for module in fastws/protocol/_frames fastws/_fanout; do
    # shellcheck disable=SC2086
    "$cc" $flags -g -Wall -Wextra -Wno-missing-field-initializers -Wno-cast-function-type -Werror \
        -fPIC -shared -fwrapv -I "$include" "$module.c" -o "$module$suffix"
done

# CI: a C engine that is not there is an error. malloc: the sanitizer sees every object.
export CI=true PYTHONPATH="$work" PYTHONDONTWRITEBYTECODE=1 PYTHONMALLOC=malloc
if [ "${1:-}" != --coverage ]; then
    # Python keeps objects for ever; what ours keep is told by tests/protocol/test_leaks.py.
    export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
    LD_PRELOAD=$("$cc" -print-file-name=libasan.so)
    export LD_PRELOAD
fi
"$python" -m pytest -q -p no:cacheprovider \
    tests/protocol/test_frames.py tests/protocol/test_hostile_frames.py \
    tests/protocol/test_leaks.py tests/protocol/test_differential.py tests/test_fanout.py

if [ "${1:-}" = --coverage ]; then
    gcov -r ./*.gcda fastws/*.gcda fastws/protocol/*.gcda 2>/dev/null |
        awk '/^File/ { file = $2 }
             /^Lines/ { split($2, part, /[:%]/); print file, part[2] " %"; if (part[2] < 95) bad = 1 }
             END { exit bad }'
fi
