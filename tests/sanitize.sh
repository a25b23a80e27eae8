#!/bin/sh
# The C modules under AddressSanitizer and UndefinedBehaviorSanitizer, with the tables that both
# engines share, and which of their lines those tables reach: less than 95 % is a failure.
#
#   tests/sanitize.sh        PYTHON=... and CC=... choose the interpreter and the compiler (gcc)
#
# It works on a copy: nothing in the tree is built or changed. gcc, gcov and the test extras are needed.
set -eu

python=${PYTHON:-python3}
cc=${CC:-gcc}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cp -r "$root/pyproject.toml" "$root/fastws" "$root/static" "$root/tests" "$work"
find "$work" -name '*.so' -delete
cd "$work"

# A module, and how much of it has to be reached: NAME.c with its parts, NAME_PART.c and the headers (see setup.py). The load generator gets its share from its own tests
# over real sockets; what they do not reach is TLS and what needs other processes.
modules="fastws/protocol/websocket/_frames:95 fastws/protocol/http/_heads:95 fastws/loop/_recv:95 fastws/loop/_send:95 fastws/connection/_counters:95 fastws/loadgen/_loadgen:60"

include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
suffix=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
for module in $modules; do
    module=${module%:*}
    parts=$(find "${module%/*}" -name "${module##*/}_*.c")
    # $cc may be several words ("ccache gcc"), so it is not quoted; neither are the parts.
    $cc -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer --coverage \
        -Wall -Wextra -Wno-missing-field-initializers -Wno-cast-function-type -Werror \
        -fPIC -fvisibility=hidden -shared -fwrapv -I "$include" "$module.c" $parts -ldl -o "$module$suffix"
done

# CI: a C engine that is not there is an error. malloc: the sanitizer sees every object.
# The bounds of time are for what is shipped: sanitized, a call costs several times as much.
export CI=true PYTHONPATH="$work" PYTHONDONTWRITEBYTECODE=1 PYTHONMALLOC=malloc FASTWS_SANITIZED=1
# Python keeps objects for ever; what ours keep is told by tests/protocol/websocket/test_leaks.py.
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
LD_PRELOAD=$($cc -print-file-name=libasan.so) "$python" -m pytest -q -p no:cacheprovider \
    tests/protocol/websocket/test_frames.py tests/protocol/websocket/test_hostile_frames.py tests/protocol/websocket/test_in_place.py tests/protocol/websocket/test_leaks.py \
    tests/protocol/websocket/test_differential.py tests/protocol/http/test_fast_upgrade.py tests/loop/test_recv.py tests/loop/test_send.py tests/server/test_counters.py tests/loadgen/test_engine.py

for module in $modules; do
    name=${module%:*}
    gcov -r "$name"*.gcda 2>/dev/null |
        awk -v name="$name" -v least="${module#*:}" '
            /^File/ { named = index($0, "\047" name ".") || index($0, "\047" name "_") }
            # "Lines executed:97.50% of 400"
            named && /^Lines/ { split($0, part, /[:%]/); lines = $NF; all += lines; reached += lines * part[2] / 100 }
            END {
                percent = all ? 100 * reached / all : 0
                printf "%s: %.2f %% of the lines were reached, %s %% must be\n", name, percent, least
                exit !(percent >= least)
            }'
done
