#!/bin/bash
# A study on the nodes of one Slurm job: Ray on all of them, the runner on the first.
#
#   sbatch --nodes=4 --gpus-per-node=8 ablation/deploy/slurm.sh \
#       grids/table3.yaml --data DIR --runs SHARED
#
# All words after the script go to runner.py. Submit it from the project's folder, with the Python
# environment of the project active, both on storage that every node sees, as DIR and SHARED are.
# Submitted again, it continues; so it does by itself where Slurm puts the job back in its queue.

#SBATCH --job-name=ser-ablation
#SBATCH --ntasks-per-node=1
#SBATCH --no-kill            # a lost node costs its trials an epoch each, not the study
#SBATCH --requeue
#SBATCH --signal=B:TERM@120  # two minutes before the time limit: the runner stops in order

set -u

python=${SER_PYTHON:-python}
scratch=/tmp/ser-$SLURM_JOB_ID  # on each node; short, as Ray's sockets lie below it
mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")

# A node's address as Slurm itself reaches it: on a node with several networks, the right one.
address_of() {
    local address
    address=$(scontrol show node --oneliner "$1" | grep -o ' NodeAddr=[^ ]*' | cut -d= -f2)
    getent ahostsv4 "${address:-$1}" | awk 'NR == 1 { print $1 }'
}

free_port() {
    "$python" -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'
}

# Others have accounts on these nodes: only who holds this job's token may use its Ray.
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token
export RAY_USAGE_STATS_ENABLED=0 RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=1
export RAY_TMPDIR=$scratch
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0  # it ends after the runner: nothing is left to wait for

# Start Ray on one node, as a job step that lasts as long as Ray does.
# Usage: start_ray HOST OPTION...
start_ray() {
    local host=$1
    shift
    srun --nodes=1 --ntasks=1 --nodelist="$host" --cpu-bind=none --kill-on-bad-exit=0 \
        bash -c '
            mkdir -p -m 700 "$RAY_TMPDIR"
            "$0" -m ray.scripts.scripts start --block \
                --num-cpus "$SLURM_CPUS_ON_NODE" --num-gpus "${SLURM_GPUS_ON_NODE:-0}" "$@" &
            trap "kill -TERM $!" TERM
            wait $!
            wait $!
            rm -rf "$RAY_TMPDIR"
        ' "$python" "$@" >>"$log" 2>&1 &
    steps+=($!)
}

answers() {
    (exec 3<>"/dev/tcp/${1%:*}/${1#*:}") 2>/dev/null
}

steps=()
runner=
log=slurm-$SLURM_JOB_ID.ray.log

end_ray() {
    scancel --signal=TERM "$SLURM_JOB_ID"  # the steps alone; srun's own SIGTERM would kill them
    local tries
    for ((tries = 0; tries < 120; tries++)); do
        [ -n "$(jobs -rp)" ] || break
        sleep 0.25
    done
    kill -TERM "${steps[@]}" 2>/dev/null
    wait
}
trap end_ray EXIT
trap 'if [ -n "$runner" ]; then kill -TERM "$runner"; else exit 130; fi' TERM INT

head_ip=$(address_of "${hosts[0]}")
head=$head_ip:$(free_port)
start_ray "${hosts[0]}" --head --port "${head#*:}" --node-ip-address "$head_ip" \
    --include-dashboard false
for ((second = 0; second < 300; second++)); do
    answers "$head" && break
    kill -0 "${steps[0]}" 2>/dev/null || break
    sleep 1
done
if ! answers "$head"; then
    echo "Ray must start on ${hosts[0]} within 300 s; see $log" >&2
    exit 1
fi
for host in "${hosts[@]:1}"; do
    start_ray "$host" --address "$head" --node-ip-address "$(address_of "$host")"
done

"$python" runner.py "$@" --address "$head" &
runner=$!
wait "$runner"
status=$?
while kill -0 "$runner" 2>/dev/null; do  # a signal ends `wait`, not the runner
    wait "$runner"
    status=$?
done
exit "$status"
