#!/usr/bin/env bash
# Start a private one-node Slurm (munged, slurmctld, slurmd) on loopback, without systemd.
#   up.sh ROOT              no accounting
#   up.sh ROOT accounting   with slurmdbd and MariaDB
# Everything it writes is below ROOT, ports are free ones: several can run beside each other, and beside a Slurm of the machine's own.
# To talk to it: SLURM_CONF=ROOT/etc/slurm.conf and ROOT/bin first in PATH.
set -euo pipefail
ROOT=$(realpath "${1:?usage: up.sh ROOT [accounting]}")
ACCOUNTING=${2:-}
HOST=$(hostname -s)
CPUS=${SLURM_TEST_CPUS:-8}
MEMORY_MB=$(( $(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo) - 1024 ))
export SLURM_CONF="$ROOT/etc/slurm.conf" PATH="$PATH:/usr/sbin"

mkdir -p "$ROOT"/{bin,etc,run,log,spool/ctld,spool/d,dev,munge}
chmod 755 "$ROOT"
chmod 700 "$ROOT/munge"

free_ports() {
    python3 - "$1" <<'PY'
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(one.getsockname()[1] for one in held))
PY
}
read -r CTLD_PORT SLURMD_PORT DBD_PORT SQL_PORT < <(free_ports 4)

# Snakemake's jobstep plugin takes every SLURM_* out of the environment before it calls srun.
printf '#!/bin/sh\nSLURM_CONF=%s exec %s "$@"\n' "$SLURM_CONF" "$(command -v srun)" > "$ROOT/bin/srun"
chmod 755 "$ROOT/bin/srun"

# Four GPUs that are /dev/null: Slurm counts and hands them out, which is what the profile is tested for.
for i in 0 1 2 3; do
    [ -c "$ROOT/dev/gpu$i" ] || mknod "$ROOT/dev/gpu$i" c 1 3
done
echo "Name=gpu Type=h100 File=$ROOT/dev/gpu[0-3]" > "$ROOT/etc/gres.conf"

STORAGE="AccountingStorageType=accounting_storage/none"
if [ "$ACCOUNTING" = accounting ]; then
    STORAGE="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$DBD_PORT
AccountingStoragePass=$ROOT/run/munge.socket
AccountingStoreFlags=job_comment
AccountingStorageTRES=gres/gpu"
fi
# cred_expire: a requeued job waits so long before it starts again. OverMemoryKill: limits without cgroups, looked at every second.
# Partition `urgent` takes from the others: their jobs are requeued.
cat > "$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$CTLD_PORT
SlurmdPort=$SLURMD_PORT
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$ROOT/run/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$ROOT/spool/ctld
SlurmdSpoolDir=$ROOT/spool/d
SlurmctldPidFile=$ROOT/run/slurmctld.pid
SlurmdPidFile=$ROOT/run/slurmd.pid
SlurmctldLogFile=$ROOT/log/slurmctld.log
SlurmdLogFile=$ROOT/log/slurmd.log
SwitchType=switch/none
MpiDefault=none
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
ReturnToService=1
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=0,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
MinJobAge=3600
KillWait=5
$STORAGE
NodeName=$HOST NodeAddr=127.0.0.1 Sockets=1 CoresPerSocket=$CPUS ThreadsPerCore=1 RealMemory=$MEMORY_MB Gres=gpu:h100:4 State=UNKNOWN
PartitionName=cpu Nodes=$HOST Default=YES MaxTime=1-0 DefMemPerCPU=500 PriorityTier=1 State=UP
PartitionName=gpu Nodes=$HOST Default=NO MaxTime=1-0 DefMemPerCPU=500 PriorityTier=1 State=UP
PartitionName=urgent Nodes=$HOST Default=NO MaxTime=1-0 DefMemPerCPU=500 PriorityTier=10 State=UP
CONF

[ -s "$ROOT/munge/key" ] || dd if=/dev/urandom of="$ROOT/munge/key" bs=128 count=1 status=none
chmod 600 "$ROOT/munge/key"
munged --force --key-file="$ROOT/munge/key" --socket="$ROOT/run/munge.socket" --pid-file="$ROOT/run/munged.pid" \
    --log-file="$ROOT/log/munged.log" --seed-file="$ROOT/munge/seed" --num-threads=2

wait_for() {  # SECONDS COMMAND...
    for _ in $(seq $(( $1 * 10 ))); do
        "${@:2}" >/dev/null 2>&1 && return
        sleep 0.1
    done
    echo "not after $1 s: ${*:2}; see $ROOT/log" >&2
    exit 1
}

if [ "$ACCOUNTING" = accounting ]; then
    mariadb-install-db --no-defaults --datadir="$ROOT/sql" --user=root --skip-test-db \
        --auth-root-authentication-method=normal > "$ROOT/log/mariadb-install.log" 2>&1
    mariadbd --no-defaults --user=root --datadir="$ROOT/sql" --socket="$ROOT/run/sql.socket" \
        --pid-file="$ROOT/run/mariadbd.pid" --bind-address=127.0.0.1 --port="$SQL_PORT" --innodb-buffer-pool-size=64M \
        --innodb-lock-wait-timeout=900 --skip-name-resolve --log-error="$ROOT/log/mariadb.log" </dev/null >/dev/null 2>&1 &
    disown
    wait_for 30 mariadb-admin --no-defaults -S "$ROOT/run/sql.socket" -uroot ping
    mariadb --no-defaults -S "$ROOT/run/sql.socket" -uroot -e "create database slurm_acct_db;
        create user slurm@127.0.0.1 identified by 'slurm'; grant all on slurm_acct_db.* to slurm@127.0.0.1;"
    cat > "$ROOT/etc/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$ROOT/run/munge.socket
DbdAddr=127.0.0.1
DbdHost=$HOST
DbdPort=$DBD_PORT
CommunicationParameters=NoInAddrAny
SlurmUser=root
LogFile=$ROOT/log/slurmdbd.log
PidFile=$ROOT/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$SQL_PORT
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
CONF
    chmod 600 "$ROOT/etc/slurmdbd.conf"
    slurmdbd
    wait_for 30 sacctmgr -n list cluster
    sacctmgr -i add cluster test >/dev/null
    sacctmgr -i add account study Description=study Organization=study >/dev/null
    sacctmgr -i add user root Account=study DefaultAccount=study >/dev/null
fi

slurmctld
slurmd -c
idle() { [ "$(sinfo -h -o %T -N | sort -u)" = idle ]; }
wait_for 20 idle
