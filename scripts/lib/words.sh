# shellcheck shell=bash
# How every script speaks: each reads this first. --help prints the script's head and does nothing else.
me="scripts/${0##*/}"
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

say() { echo "$me: $*" >&2; }
die() { local code="$1"; shift; say "$*"; exit "$code"; } # CODE WORDS…
usage() { # prints the head of the script
    sed -n '2,/^set -/{/^# \{0,1\}/s///p;}' "$root/$me"
}
unknown() { # WORD EXPECTED…: ends a script that was given a word it does not know
    die 2 "'$1' is not known: expected ${*:2}"
}
case "${1:-}" in -h | --help) usage; exit 0 ;; esac
