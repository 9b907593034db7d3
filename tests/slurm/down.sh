#!/usr/bin/env bash
# Stop what up.sh started under ROOT, by its pid files, and nothing else.
ROOT=${1:?usage: down.sh ROOT}
for daemon in slurmd slurmctld munged; do
    pid=$(cat "$ROOT/run/$daemon.pid" 2>/dev/null) || continue
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null
done
for file in slurm.conf gres.conf; do
    [ "$(readlink "/etc/slurm/$file")" = "$ROOT/etc/$file" ] && rm "/etc/slurm/$file"
done
exit 0
