#!/usr/bin/env bash
# Start a private one-node Slurm (munged, slurmctld, slurmd) on loopback, without systemd.
#   up.sh ROOT     everything it writes is below ROOT, but for /etc/slurm: the jobstep plugin takes SLURM_CONF out of the environment
#                  of jobs, so the configuration must also be where Slurm looks by itself. An existing one is never replaced.
set -euo pipefail
ROOT=${1:?usage: up.sh ROOT}
HOST=$(hostname -s)
CPUS=${SLURM_TEST_CPUS:-4}
MEMORY_MB=$(( $(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo) - 1024 ))

for file in slurm.conf gres.conf; do
    if [ -e "/etc/slurm/$file" ] && [ ! -L "/etc/slurm/$file" ]; then
        echo "/etc/slurm/$file is there: this machine has a Slurm of its own, and the test leaves it alone" >&2
        exit 3
    fi
done
mkdir -p "$ROOT"/{etc,run,log,spool/ctld,spool/d,dev,munge} /etc/slurm
chmod 755 "$ROOT"
chmod 700 "$ROOT/munge"

# Four GPUs that are /dev/null: Slurm counts and hands them out, which is what the profile is tested for.
for i in 0 1 2 3; do
    [ -c "$ROOT/dev/gpu$i" ] || mknod "$ROOT/dev/gpu$i" c 1 3
done

cat > "$ROOT/etc/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=17017
SlurmdPort=17018
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$ROOT/run/munge.socket
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
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=0,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
MinJobAge=600
KillWait=3
AccountingStorageType=accounting_storage/none
NodeName=$HOST NodeAddr=127.0.0.1 Sockets=1 CoresPerSocket=$CPUS ThreadsPerCore=1 RealMemory=$MEMORY_MB Gres=gpu:h100:4 State=UNKNOWN
PartitionName=cpu Nodes=$HOST Default=YES MaxTime=1-0 DefMemPerCPU=500 State=UP
PartitionName=gpu Nodes=$HOST Default=NO MaxTime=1-0 DefMemPerCPU=500 State=UP
CONF
echo "Name=gpu Type=h100 File=$ROOT/dev/gpu[0-3]" > "$ROOT/etc/gres.conf"
ln -sfn "$ROOT/etc/slurm.conf" /etc/slurm/slurm.conf
ln -sfn "$ROOT/etc/gres.conf" /etc/slurm/gres.conf

[ -s "$ROOT/munge/key" ] || dd if=/dev/urandom of="$ROOT/munge/key" bs=128 count=1 status=none
chmod 600 "$ROOT/munge/key"
munged --force --key-file="$ROOT/munge/key" --socket="$ROOT/run/munge.socket" --pid-file="$ROOT/run/munged.pid" \
    --log-file="$ROOT/log/munged.log" --seed-file="$ROOT/munge/seed" --num-threads=2
slurmctld -f "$ROOT/etc/slurm.conf"
slurmd -f "$ROOT/etc/slurm.conf" -c
for _ in $(seq 100); do
    [ "$(sinfo -h -o %T -N 2>/dev/null | sort -u)" = idle ] && exit 0
    sleep 0.1
done
echo "the node is not idle after 10 s; see $ROOT/log" >&2
exit 1
