#!/usr/bin/env bash
# A SLURM of the tests' own on this machine: slurmctld, a slurmd for each node and munged, on the loopback interface,
# without systemd, cgroups or accounting. As root, since slurmd starts jobs for their users.
#
#   cluster.sh install          the Debian packages, where they are absent
#   cluster.sh up | down        start it (NODES=2 nodes, for one job each) | stop it; its files lie in $PSAP_SLURM
set -euo pipefail

PACKAGES="slurm-wlm munge"
SITE=/etc/slurm/slurm.conf
HOME_OF_ALL=${PSAP_SLURM:-/tmp/psap-slurm}
NODES=${NODES:-2}

say() {
    echo "tests/slurm: $1" >&2
    exit 2
}

install() {
    if type slurmctld slurmd munged >/dev/null 2>&1; then
        return
    fi
    if [ "$(id -u)" != 0 ] || ! type apt-get >/dev/null 2>&1; then
        say "SLURM is not on this machine; as root: apt-get install --no-install-recommends $PACKAGES"
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $PACKAGES >/dev/null
}

configuration() {
    local host memory
    host=$(hostname -s)
    memory=$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
    cat <<END
ClusterName=psap
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket=$HOME_OF_ALL/munge/socket,cred_expire=5
StateSaveLocation=$HOME_OF_ALL/ctld
SlurmctldPidFile=$HOME_OF_ALL/slurmctld.pid
SlurmctldLogFile=$HOME_OF_ALL/slurmctld.log
SlurmdSpoolDir=$HOME_OF_ALL/%n
SlurmdPidFile=$HOME_OF_ALL/slurmd.%n.pid
SlurmdLogFile=$HOME_OF_ALL/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=bf_interval=2,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
KillWait=3
MinJobAge=3600
ReturnToService=2
SlurmdTimeout=10
SlurmdParameters=config_overrides
PartitionName=main Nodes=ALL Default=YES PriorityTier=1
PartitionName=urgent Nodes=ALL PriorityTier=2
END
    for number in $(seq "$NODES"); do
        echo "NodeName=n$number NodeHostname=$host NodeAddr=127.0.0.1 Port=$((16820 + number))" \
            "CPUs=1 RealMemory=$memory Gres=gpu:1"
    done
}

up() {
    [ "$(id -u)" = 0 ] || say "only root can start SLURM here"
    [ ! -e "$SITE" ] || say "$SITE is there: this machine has a SLURM already"
    mkdir -p "$HOME_OF_ALL"/{munge,ctld}
    for number in $(seq "$NODES"); do mkdir -p "$HOME_OF_ALL/n$number"; done
    touch "$HOME_OF_ALL/gpu0" # a device in name only
    (umask 077 && head -c 128 /dev/urandom >"$HOME_OF_ALL/munge/key")
    configuration >"$HOME_OF_ALL/slurm.conf"
    echo "Name=gpu File=$HOME_OF_ALL/gpu0" >"$HOME_OF_ALL/gres.conf"
    # Where SLURM looks by itself: the executor plugin takes every variable SLURM_* from the steps that it starts.
    ln -s "$HOME_OF_ALL/slurm.conf" "$SITE"
    ln -s "$HOME_OF_ALL/gres.conf" "${SITE%slurm.conf}gres.conf"
    munged --force --key-file="$HOME_OF_ALL/munge/key" --socket="$HOME_OF_ALL/munge/socket" \
        --pid-file="$HOME_OF_ALL/munged.pid" --log-file="$HOME_OF_ALL/munge/log" --seed-file="$HOME_OF_ALL/munge/seed"
    slurmctld -c
    for number in $(seq "$NODES"); do slurmd -N "n$number"; done
    for _ in $(seq 100); do
        if [ "$(sinfo --noheader --format=%T 2>/dev/null | sort -u)" = idle ]; then return; fi
        sleep 0.2
    done
    tail -n 5 "$HOME_OF_ALL"/*.log >&2
    say "SLURM did not come up"
}

down() {
    if [ "$(readlink "$SITE")" != "$HOME_OF_ALL/slurm.conf" ]; then
        return
    fi
    scancel --user=root 2>/dev/null || true
    for _ in $(seq 50); do
        if [ -z "$(squeue --noheader 2>/dev/null)" ]; then break; fi
        sleep 0.2
    done
    for file in "$HOME_OF_ALL"/slurmd.*.pid "$HOME_OF_ALL/slurmctld.pid" "$HOME_OF_ALL/munged.pid"; do
        if [ -s "$file" ]; then stop "$(cat "$file")"; fi
    done
    rm -f "$SITE" "${SITE%slurm.conf}gres.conf"
    rm -rf "$HOME_OF_ALL"
}

stop() {
    kill "$1" 2>/dev/null || return 0
    for _ in $(seq 50); do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.2
    done
    kill -9 "$1"
}

case "${1:-}" in
install | up | down) "$1" ;;
*) say "usage: cluster.sh install | up | down" ;;
esac
