#!/usr/bin/env bash
# Stop what up.sh started under ROOT, by its pid files, and nothing else.
ROOT=${1:?usage: down.sh ROOT}
for daemon in slurmd slurmctld slurmdbd mariadbd munged; do
    pid=$(cat "$ROOT/run/$daemon.pid" 2>/dev/null) || continue
    # A pid file outlives a crash, and its number may be somebody else's by now.
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$daemon" ] || continue
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null
done
exit 0
