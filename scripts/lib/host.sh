# shellcheck shell=bash
# What runs on the host of a process. `bash -s` reads it there, through the runner, with one call at its end.
# A process is named by its id and the time it started: a later process with the same id is another one.
#   STATE/run/NAME.pid   pid, start, checksum of its command, pid and start of its watcher, how often that started it again
#   STATE/run/NAME.end   the exit code of the run before, as a shell has it: 128 and more are signals
#   STATE/run/NAME.stop  is there while it is being ended: its watcher does not start it again
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

watched() { # STATE NAME: whether the watcher of it runs
    local pid start
    read -r _ _ _ pid start _ 2>/dev/null < "$1/run/$2.pid" || return 1
    [ -n "$start" ] && [ "$(since "$pid")" = "$start" ]
}

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

ask() { # STATE NAME CHECKSUM: prints one line, a word and what belongs to it
    #   running PID SECONDS RESTARTS, changed PID SECONDS RESTARTS   it runs, by this command or by another one
    #   restarting                                                   it ended, and its watcher will start it
    #   killed SIGNAL, ended CODE, lost                              it ended by itself; lost: nobody saw how
    #   stopped                                                      it was ended, or never started
    local pid start known restarts code word=running seconds=-
    [ -e "$1/run/$2.pid" ] || { echo stopped; return; }
    if read -r pid start < <(alive "$1" "$2"); then
        read -r _ _ known _ _ restarts < "$1/run/$2.pid"
        [ "$known" = "$3" ] || word=changed
        [ ! -r /proc/uptime ] || seconds="$(($(cut -d . -f 1 /proc/uptime) - start / $(getconf CLK_TCK)))"
        echo "$word $pid $seconds ${restarts:-0}"
    elif watched "$1" "$2"; then
        echo restarting
    elif read -r code 2>/dev/null < "$1/run/$2.end"; then
        if [ "$code" -gt 128 ]; then echo "killed $(kill -l "$code")"; else echo "ended $code"; fi
    else
        echo lost
    fi
}

start() { # STATE NAME CHECKSUM RESTART [VARIABLE=VALUE…] -- FOLDER COMMAND…: returns once the process is recorded
    local state="$1" name="$2" known="$3" restart="$4" variables=() detach=()
    shift 4
    while [ "$1" != -- ]; do variables+=("$1"); shift; done
    make_private "$state" "$state/run" "$state/log"
    cd "$state"
    [ ! -e "log/$name.log" ] || mv -f "log/$name.log" "log/$name.log.1"
    rm -f "run/$name.end" "run/$name.stop"
    read -r _ < <(
        unset NOTIFY_SOCKET FABRIC_STORE FABRIC_KEYS FABRIC_IDENTITY FABRIC_CONNECT # the plan says all that a process is to have
        [ ${#variables[@]} = 0 ] || export "${variables[@]}"
        ! command -v setsid > /dev/null || detach=(setsid)
        # A watcher has the words of its process on its command line, and so no more secrets than that one.
        exec "${detach[@]}" bash -c "$(declare -f since watch); "'watch "$@"' "watch-$name" "$name" "$known" "$restart" "${@:2}"
    )
}

watch() { # NAME CHECKSUM RESTART FOLDER COMMAND…: run it, note how it ended, and start it again when RESTART says so
    local name="$1" known="$2" restart="$3" folder="$4" own="$BASHPID" run="$PWD/run/$1" log="$PWD/log/$1.log"
    local restarts=0 code began pause=1 at
    own="$own $(since "$own")"
    shift 4
    umask 077
    command -v setsid > /dev/null || trap '' HUP
    exec 3>&1 < /dev/null > /dev/null 2>&1
    while true; do
        began="$SECONDS"
        # It records itself before it becomes the program: a kill in between leaves nothing unrecorded.
        (
            self="$BASHPID"
            echo "$self $(since "$self") $known $own $restarts" > "$run.new"
            mv -f "$run.new" "$run.pid"
            [ ! -e "$run.stop" ] || exit 0
            [ "$restarts" -gt 0 ] || echo recorded >&3
            exec 3>&- >> "$log" 2>&1
            cd "$folder"
            exec "$@"
        ) &
        exec 3>&-
        code=0
        wait "$!" || code=$?
        echo "$code" > "$run.end"
        case "$restart" in always) ;; on-failure) [ "$code" != 0 ] || break ;; *) break ;; esac
        [ $((SECONDS - began)) -lt 60 ] || pause=1
        for ((at = 0; at < pause * 5; at++)); do
            [ ! -e "$run.stop" ] || break 2
            sleep 0.2
        done
        pause=$((pause < 16 ? 2 * pause : 30)) restarts=$((restarts + 1))
    done
}

await() { # STATE NAME SECONDS COUNT: until it printed so many ready lines; 1: it ended, 2: not in time
    local end=$((SECONDS + $3)) log="$1/log/$2.log"
    # The lines of several pages in one process differ in their number; one that is ready twice counts once.
    until [ "$(sed -n '/^{"event":"ready"/s/.*"page":\([0-9]*\).*/\1/p; /^{"event":"ready"/{/"page":/!p;}' "$log" 2>/dev/null |
        sort -u | wc -l)" -ge "$4" ]; do
        alive "$1" "$2" > /dev/null || watched "$1" "$2" || return 1
        [ "$SECONDS" -lt "$end" ] || return 2
        sleep 0.1
    done
}

note_kill() { # STATE NAME: by whom, as a line of an audit stream: what is killed writes none
    local who
    who="$(id -un | tr -cd '[:alnum:]._-')"
    printf '{"at": "%s", "event": "killed", "who": "%s", "from": "scripts", "why": "%s did not end in time", "count": 1}\n' \
        "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$who" "$2" >> "$1/log/audit.jsonl"
}

end() { # STATE NAME GRACE_S: TERM, and KILL after so long. Prints `ended`, `killed` when it came to that, or `none` ran
    local end=$((SECONDS + $3)) told='' pid was=none
    [ -e "$1/run/$2.pid" ] || { echo none; return; }
    : > "$1/run/$2.stop"
    while true; do
        if read -r pid _ < <(alive "$1" "$2"); then
            [ "$was" != none ] || was=ended
            [ "$told" = "$pid" ] || kill -TERM "$pid" 2>/dev/null || true
            told="$pid"
            if [ "$SECONDS" -ge "$end" ]; then
                kill -KILL "$pid" 2>/dev/null || true
                [ "$was" = killed ] || note_kill "$1" "$2"
                was=killed
            fi
        else
            # Its watcher is about to end, too, or to start another one that ends at once: see `watch`.
            { watched "$1" "$2" && [ "$SECONDS" -lt "$end" ]; } || break
        fi
        sleep 0.05
    done
    rm -f "$1/run/$2.pid" "$1/run/$2.stop" "$1/run/$2.end"
    echo "$was"
}

last() { # STATE NAME LINES: of its log
    tail -n "$3" "$1/log/$2.log"
}

follow() { # STATE NAME LINES
    exec tail -n "$3" -F "$1/log/$2.log"
}
