# shellcheck shell=bash
# What runs on the host of a process. `bash -s` reads it there, through the runner, with one call at its end.
# A process is named by its id and the time it started: a later process with the same id is another one.
#   STATE/run/NAME.pid   pid, start, checksum of its command
#   STATE/log/NAME.log   what it said since it started; NAME.log.1: the run before
#   STATE/log/audit.jsonl  who killed what did not end in time
#   STATE/keys/            keys.toml, and the private keys of what runs here
# All of it, and what the processes write, is for its owner only.
set -euo pipefail
umask 077

shared() { # FOLDER: fails, and says why, when somebody else can write there: what stands there is run, and ended
    [ -d "$1" ] || return 0
    if [ "$(id -u)" != 0 ] && ! [ -O "$1" ]; then
        echo "$1 belongs to another user: expected a folder of $(id -un)"
        return 1
    fi
    [ -z "$(find "$1/." -prune \( -perm -020 -o -perm -002 \))" ] || { echo "others can write in $1: expected chmod 700 $1"; return 1; }
}

make_private() { # STATE FOLDER…: make them. STATE is ours when it is new, empty or in use by us; else it is left as it is
    local ours=("${@:2}")
    if [ ! -d "$1" ] || [ -e "$1/run" ] || [ -e "$1/plan" ] || [ -z "$(ls -A "$1")" ]; then ours+=("$1"); fi
    mkdir -p "$@"
    [ ${#ours[@]} = 0 ] || chmod 700 "${ours[@]}"
}

since() { # PID: when it started, in ticks since the machine did (proc(5), stat, field 22); fails when it does not run
    local stat fields
    if [ -d /proc/self ]; then
        stat="$(cat "/proc/$1/stat" 2>/dev/null)" || return 1
        read -ra fields <<< "${stat##*) }" # behind the command's name, which may hold anything
        [ "${fields[0]}" != Z ] && echo "${fields[19]}"
    else
        stat="$(ps -o lstart= -p "$1")" && echo "${stat//[[:space:]]/-}"
    fi
}

alive() { # STATE NAME: prints pid and start
    local pid start
    read -r pid start _ 2>/dev/null < "$1/run/$2.pid" || return 1
    [ -n "$start" ] && [ "$(since "$pid")" = "$start" ] && echo "$pid $start"
}

sum() { echo "$*" | cksum | cut -d ' ' -f 1; }

check() { # STATE COMMAND: whether processes could run here at all
    shared "$1" >&2 || return 1
    make_private "$1" "$1/run" "$1/log"
    command -v "$2" > /dev/null || { echo "the command $2 is missing" >&2; return 1; }
}

keep_keys() { # STATE NAME FILE BASE64 …: each is written for the owner only, and is there as a whole or not at all
    local folder="$1/keys"
    make_private "$1" "$folder"
    shift 2
    while [ $# -gt 1 ]; do
        printf '%s' "$2" | base64 -d > "$folder/.new.$1"
        mv -f "$folder/.new.$1" "$folder/$1"
        shift 2
    done
}

ask() { # STATE NAME COMMAND…: prints one line: stopped | running PID SECONDS | changed PID SECONDS
    local state="$1" name="$2" pid start known word=running seconds=-
    shift 2
    read -r pid start < <(alive "$state" "$name") || { echo stopped; return; }
    read -r _ _ known < "$state/run/$name.pid"
    [ "$known" = "$(sum "$@")" ] || word=changed
    [ ! -r /proc/uptime ] || seconds="$(($(cut -d . -f 1 /proc/uptime) - start / $(getconf CLK_TCK)))"
    echo "$word $pid $seconds"
}

start() { # STATE NAME ALONE COMMAND…: returns once the process is recorded; ALONE: one more word for it, or nothing
    local state="$1" name="$2" alone="$3" known
    shift 3
    make_private "$state" "$state/run" "$state/log"
    cd "$state"
    known="$(sum "$@")"
    [ ! -e "log/$name.log" ] || mv -f "log/$name.log" "log/$name.log.1"
    # It records itself before it becomes the program: a kill in between leaves nothing unrecorded.
    read -r _ < <(
        me="$BASHPID"
        echo "$me $(since "$me") $known" > "run/$name.new"
        mv -f "run/$name.new" "run/$name.pid"
        echo recorded
        exec < /dev/null > "log/$name.log" 2>&1
        unset NOTIFY_SOCKET FABRIC_STORE FABRIC_KEYS FABRIC_IDENTITY # the plan says all that a process is to have
        detach=(nohup)
        ! command -v setsid > /dev/null || detach=(setsid)
        exec "${detach[@]}" "$@" ${alone:+"$alone"}
    )
}

await() { # STATE NAME SECONDS COUNT: until it printed so many ready lines; 1: it ended, 2: not in time
    local end=$((SECONDS + $3)) log="$1/log/$2.log"
    # The lines of several pages in one process differ in their number; one that is ready twice counts once.
    until [ "$(sed -n '/^{"event":"ready"/s/.*"page":\([0-9]*\).*/\1/p; /^{"event":"ready"/{/"page":/!p;}' "$log" 2>/dev/null |
        sort -u | wc -l)" -ge "$4" ]; do
        alive "$1" "$2" > /dev/null || return 1
        [ "$SECONDS" -lt "$end" ] || return 2
        sleep 0.1
    done
}

signal() { # STATE NAME SIGNAL
    local pid
    read -r pid _ < <(alive "$1" "$2") || return 0
    kill "-$3" "$pid" 2>/dev/null || true
}

note_kill() { # STATE NAME: by whom, as a line of an audit stream: what is killed writes none
    local who
    who="$(id -un | tr -cd '[:alnum:]._-')"
    printf '{"at": "%s", "event": "killed", "who": "%s", "from": "scripts", "why": "%s did not end in time", "count": 1}\n' \
        "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$who" "$2" >> "$1/log/audit.jsonl"
}

end() { # STATE NAME GRACE_S: TERM, and KILL after so long; prints `killed` when it came to that
    local end=$((SECONDS + $3))
    signal "$1" "$2" TERM
    while alive "$1" "$2" > /dev/null; do
        if [ "$SECONDS" -ge "$end" ]; then
            signal "$1" "$2" KILL
            [ "$end" = 0 ] || { echo killed; note_kill "$1" "$2"; }
            end=0
        fi
        sleep 0.05
    done
    rm -f "$1/run/$2.pid"
}

last() { # STATE NAME LINES: of its log
    tail -n "$3" "$1/log/$2.log"
}

follow() { # STATE NAME LINES
    exec tail -n "$3" -F "$1/log/$2.log"
}
