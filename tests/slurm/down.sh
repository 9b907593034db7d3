#!/usr/bin/env bash
# Stop what up.sh started under ROOT, its jobs and its daemons by their pid files, and nothing else.
ROOT=${1:?usage: down.sh ROOT}
export SLURM_CONF="$ROOT/etc/slurm.conf"

# A pid file outlives a crash, and its number may be somebody else's by now.
alive() {
    pid=$(cat "$ROOT/run/$1.pid" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ]
}

# Slurm's daemons leave the jobs alone when they stop.
if alive slurmctld && timeout 10 scancel --user="$(id -un)"; then
    for _ in $(seq 100); do
        [ -z "$(timeout 10 squeue --noheader --states=RUNNING,COMPLETING,PENDING 2>/dev/null)" ] && break
        sleep 0.1
    done
fi
for daemon in slurmd slurmctld slurmdbd mariadbd munged; do
    alive "$daemon" || continue
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null
done
# slurmd would have killed what hears no SIGTERM, such as a Snakemake that hangs in its own handler; it is gone.
for process in /proc/[0-9]*; do
    grep -qzxF "SLURM_CONF=$SLURM_CONF" "$process/environ" 2>/dev/null && grep -qz '^SLURM_JOB_ID=' "$process/environ" &&
        kill -9 "${process#/proc/}"
done 2>/dev/null
exit 0
