# shellcheck shell=bash
# What up, down, status, restart, logs and rolling-restart share: the state folder, its plan, and how to reach a host.
#   FABRIC_STATE  the state folder; default: var
#   FABRIC        the fabric command; default: the one in .venv, which scripts/setup makes
set -euo pipefail

# shellcheck source=scripts/lib/words.sh
source "$(dirname "${BASH_SOURCE[0]}")/words.sh"
umask_before="$(umask)" # host.sh sets another: what is kept here is for its owner only
# shellcheck source=scripts/lib/host.sh
source "$(dirname "${BASH_SOURCE[0]}")/host.sh" # for `since`, and for what is called by `at`
export FABRIC_STATE="${FABRIC_STATE:-var}"
state="$FABRIC_STATE"

[ "${BASH_VERSINFO[0]}" -ge 5 ] || die 3 "bash 5 or newer is needed, and this is $BASH_VERSION"

find_fabric() { # sets `fabric`
    fabric="${FABRIC:-}"
    if [ -z "$fabric" ]; then
        (umask "$umask_before" && "$root/scripts/setup")
        fabric="$root/.venv/bin/fabric"
    fi
    fabric="$(command -v "$fabric")" || die 3 "FABRIC=$FABRIC cannot be run: expected the path of an installed fabric"
}

# --- the plan: what `fabric plan --lines` prints, see nodes/deployment/plan.py

plan_form='fabric-plan-2'
declare -a names=()
# shellcheck disable=SC2034 # not every script uses all of them
declare -A kind_of=() host_of=() runner_of=() state_of=() fabric_of=() base_of=() readies_of=() alone_of=()
declare -A restart_of=() members_of=() env_of=() folder_of=() command_of=()

load_plan() { # FILE
    local form name kind host runner state_folder command_path base readies alone restart members env folder command
    exec {lines}< "$1"
    IFS=$'\x1f' read -r form ready_s grace_s keys <&"$lines"
    [ "$form" = "$plan_form" ] ||
        die 3 "$1 is of another version of these scripts: expected scripts/down of that version, and then rm $1"
    while IFS=$'\x1f' read -r name kind host runner state_folder command_path base readies alone restart members env folder command <&"$lines"; do
        names+=("$name")
        kind_of[$name]="$kind" host_of[$name]="$host" runner_of[$name]="$runner" state_of[$name]="$state_folder"
        fabric_of[$name]="$command_path" base_of[$name]="$base" readies_of[$name]="$readies" alone_of[$name]="$alone"
        restart_of[$name]="$restart" members_of[$name]="$members" env_of[$name]="$env" folder_of[$name]="$folder" command_of[$name]="$command"
    done
    exec {lines}<&-
}

own_state() { # nobody else may write in the state folder
    local why
    why="$(shared "$state")" || die 3 "$why, or FABRIC_STATE=FOLDER"
}

need_plan() { # for all but up
    [ -e "$state/plan" ] || die 3 "nothing was started from $state: expected scripts/up first, or FABRIC_STATE=FOLDER"
    own_state
    load_plan "$state/plan"
}

known() { # NAME…
    local name
    for name in "$@"; do
        [[ -n "$name" && -n "${kind_of[$name]:-}" ]] || unknown "$name" "one of ${names[*]}"
    done
}

of_kind() { # KIND: prints names in the order of the plan
    local name
    for name in "${names[@]}"; do
        [ "${kind_of[$name]}" != "$1" ] || echo "$name"
    done
}

# --- processes, where they run

at() { # NAME FUNCTION [WORDS]: call a function of host.sh for it; WORDS, quoted for a shell, follow its state and name
    local name="$1" runner
    read -ra runner <<< "${runner_of[$name]}"
    { cat "$root/scripts/lib/host.sh"; echo "$2 ${state_of[$name]} $name ${*:3}"; } | "${runner[@]}" bash -s
}

place() { # NAME: where it runs, in words
    echo "${host_of[$1]:+ on ${host_of[$1]}}"
}

check_hosts() { # every host must be reachable, and have the command
    local name runner answer
    local -A seen=()
    for name in "${names[@]}"; do
        [ -z "${seen[${host_of[$name]:--}]:-}" ] || continue
        seen[${host_of[$name]:--}]=1
        read -ra runner <<< "${runner_of[$name]}"
        answer="$({ cat "$root/scripts/lib/host.sh"; echo "check ${state_of[$name]} ${fabric_of[$name]}"; } |
            "${runner[@]}" bash -s 2>&1)" ||
            die 3 "cannot run anything$(place "$name") (${runner_of[$name]:-here}): ${answer:-no answer}"
    done
}

is_alone() { # PROXY: no other one of the plan can be running; a host that does not answer may run one
    local name
    for name in "${names[@]}"; do
        [ "${kind_of[$name]}" != proxy ] || [ "$name" = "$1" ] || is_down "$(state_now "$name")" || return 1
    done
}

state_now() { # NAME: prints what `ask` of host.sh says; or unknown, where its host cannot be asked
    at "$1" ask "$(fingerprint "$1")" 2> /dev/null || echo unknown
}

fingerprint() { # NAME: of all that it is to be started with, but for its mesh: it learns of new members by itself
    echo "${restart_of[$1]} ${env_of[$1]} ${folder_of[$1]} ${command_of[$1]}" | cksum | cut -d ' ' -f 1
}

is_down() { # WORDS of state_now: no process of it runs
    case "$1" in stopped | killed* | ended* | lost) ;; *) return 1 ;; esac
}

launch() { # NAME: start it. A proxy may begin a mesh by itself only where none of its mesh can be running.
    local env="${env_of[$1]}" words="${command_of[$1]}"
    if [ "${kind_of[$1]}" = run ]; then env+=" ${members_of[$1]}"; else words+=" ${members_of[$1]}"; fi
    [ -z "${alone_of[$1]}" ] || ! is_alone "$1" || words+=" ${alone_of[$1]}"
    at "$1" start "$(fingerprint "$1")" "${restart_of[$1]} $env -- ${folder_of[$1]} $words"
}

await_ready() { # NAME: until it is ready; otherwise say why, with its last lines
    local end=$((SECONDS + ready_s)) code=2 why
    # In slices: a script that was interrupted notices between two of them.
    while [ "$code" = 2 ] && [ "$SECONDS" -lt "$end" ] && [ -z "${interrupted:-}" ]; do
        code=0
        at "$1" await 2 "${readies_of[$1]}" || code=$?
    done
    [ "$code" != 0 ] || return 0
    [ -z "${interrupted:-}" ] || return 1
    case "$code" in
        1) why="ended before it was ready" ;;
        2) why="was not ready in $ready_s s" ;;
        *) why="cannot be asked whether it is ready" ;;
    esac
    say "$1$(place "$1") $why; the last lines of its log:"
    at "$1" 'last' 15 | sed "s/^/$1| /" >&2 || true
    return 1
}

ask_fabric() { # NAME WORDS…: run a fabric command beside this proxy, connected to it
    local name="$1" runner shown=''
    read -ra runner <<< "${runner_of[$name]}"
    [ -z "${keys:-}" ] || shown="--keys ${state_of[$name]}/keys --identity scripts"
    echo "unset FABRIC_KEYS FABRIC_IDENTITY; exec ${fabric_of[$name]} ${*:2} $shown --connect ${base_of[$name]@Q}" |
        "${runner[@]}" bash -s
}

# --- keys: made in a folder on this machine, and placed where processes need them; see `fabric keys`

make_keys() { # what the plan needs, and the folder has not
    local kind wanted
    local -A role=([proxy]=proxy [frame]=frame [page]=gateway)
    "$fabric" keys init --if-missing --keys "$keys" > /dev/null
    "$fabric" keys add scripts --role observer --if-missing --keys "$keys" > /dev/null
    for kind in proxy frame page; do
        mapfile -t wanted < <(of_kind "$kind")
        [ ${#wanted[@]} = 0 ] ||
            "$fabric" keys add "${wanted[@]}" --role "${role[$kind]}" --if-missing --keys "$keys" > /dev/null
    done
}

place_keys() { # NAME: its own, and the public ones; a proxy's host has those of the mesh and of these scripts, too
    local files=(keys.toml "$1.key") each words=()
    [ "${kind_of[$1]}" != proxy ] || files+=(mesh.key scripts.key)
    for each in "${files[@]}"; do
        words+=("$each" "$(base64 < "$keys/$each" | tr -d '\n')")
    done
    at "$1" keep_keys "${words[@]}"
}

await_mesh() { # until as many proxies as the plan has are linked with each other
    local proxies said
    mapfile -t proxies < <(of_kind proxy)
    said="$(ask_fabric "${proxies[0]}" wait --proxies ${#proxies[@]} --timeout "$ready_s" 2>&1)" && return 0
    say "the mesh is not whole: $said"
    return 1
}

restart() { # NAME
    stop_all "$1"
    launch "$1" || die 1 "$1 could not be started$(place "$1")"
    await_ready "$1" || die 1 "$1 was not ready after the restart"
    [ "${kind_of[$1]}" != proxy ] || await_mesh || die 1 "$1 is ready, but not linked with all proxies"
    say "restarted $1"
}

stop_all() { # NAME…: all are told at once; returns when none is left. Sets `stopped` to how many ran
    local name was waits=() code=0 each
    for name in "$@"; do
        {
            was="$(at "$name" end "$grace_s" 2> /dev/null)" || {
                [ "$(state_now "$name")" != unknown ] || die 1 "$name$(place "$name") cannot be asked whether it runs$(forget_hint "$name")"
                die 1 "$name$(place "$name") could not be ended"
            }
            case "$was" in
                none) exit 10 ;;
                killed) say "stopped $name; it did not end in $grace_s s and was killed" ;;
                *) say "stopped $name" ;;
            esac
        } &
        waits+=("$!")
    done
    stopped=0
    for each in "${waits[@]}"; do
        wait "$each" && stopped=$((stopped + 1)) || [ $? = 10 ] || code=1
    done
    return "$code"
}

forget_hint() { # NAME: what to do when its host is gone
    [ -z "${host_of[$1]}" ] || echo ": expected its host to answer, or scripts/down --forget ${host_of[$1]} when that is gone for good"
}

forget() { # HOST…: what runs there is no part of the plan any more, and nobody goes there to look
    local name line option base mark=$'\x1f' gone=()
    for name in "${names[@]}"; do
        [[ " $* " != *" ${host_of[$name]:--} "* ]] || gone+=("$name")
    done
    while IFS= read -r line; do
        [[ " ${gone[*]} " != *" ${line%%"$mark"*} "* ]] || continue
        for name in "${gone[@]}"; do
            for option in --join --connect; do
                for base in "${base_of[$name]}" "${base_of[$name]@Q}"; do # quoted where it needs to be
                    line="${line//"$option $base "/}"
                    line="${line//"$option $base$mark"/"$mark"}"
                done
            done
        done
        echo "$line"
    done < "$state/plan" > "$state/plan.new"
    mv -f "$state/plan.new" "$state/plan"
    [ ${#gone[@]} -lt ${#names[@]} ] || rm "$state/plan"
    say "forgot ${gone[*]}, on $*"
}

# --- one at a time

lock() { # only one script at a time changes what runs; a lock whose owner has died is taken over
    local owner
    own_state
    make_private "$state" 2>/dev/null || die 3 "cannot make the folder $state"
    state="$(cd "$state" && pwd)"
    until (set -o noclobber && echo "$$ $(since $$)" > "$state/lock") 2>/dev/null; do
        [ -w "$state" ] || die 3 "cannot write in $state"
        owner="$(cat "$state/lock" 2>/dev/null || true)"
        [ -z "$owner" ] || [ "$(since "${owner% *}")" != "${owner#* }" ] || die 3 "process ${owner% *} works on $state already"
        rm -f "$state/lock"
    done
    trap 'rm -f "$state/lock"' EXIT
}
