#!/usr/bin/env bash
# Check psap on a machine with a GPU, in about 25 minutes: tests, speed, two ranks, a small study.
#
#   scripts/gpu_check.sh [FOLDER]             on the GPU; the study needs CIFAR-10 in $PSAP_DATA/cifar10
#   scripts/gpu_check.sh --rehearse [FOLDER]  the same lines on the processor, at toy size
#
# All that it finds goes to FOLDER (default: gpu-check), at most 16 MiB. It works in a copy of the checkout, so that
# nothing here changes. $PYTHON is the interpreter to use (default: that of .venv, else python3).
set -uo pipefail
cd "$(dirname "$0")/.."

# What differs in a rehearsal: the base of the suites, networks, images, how often, and how long a step may take.
base=cifar10 small=resnet20 middle=resnet56 large=torchvision:resnet50 size=224 often=()
methods='{pretrained: [psap, l1, sfp], scratch: [psap, l1, sfp]}'
rehearse= patience=1
if [ "${1:-}" = --rehearse ]; then
    rehearse=1 patience=4 base=demo small=resnet8 middle=resnet8 large=resnet8 size=32 often=(--iterations 1 --repetitions 1)
    methods='{pretrained: [psap], scratch: [psap]}'
    shift
fi
out=$(realpath -m "${1:-gpu-check}")
python=${PYTHON:-$([ -x .venv/bin/python ] && echo "$PWD/.venv/bin/python" || command -v python3)}
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir -p "$out"
cp -r Snakefile workflow psap profiles params tests pyproject.toml environment.yml "$copy"
cd "$copy" || exit
find params -name '*.yaml' ! -name "$base.yaml" ! -name methods.yaml ! -name verdicts.yaml ! -name readings.yaml -delete
export PYTHONPATH=$copy PSAP_JOBS_PER_GPU=4
failed=()

step() { # NAME SECONDS COMMAND...: its output goes to FOLDER/NAME.txt; what fails does not stop the rest
    local name=$1 limit=$((patience * $2)) begin=$SECONDS told=ok
    shift 2
    timeout "$limit" "$@" > "$out/$name.txt" 2>&1 || { told="failed (exit code $?)"; failed+=("$name"); }
    echo "$name: $told, $((SECONDS - begin)) s" | tee -a "$out/steps.txt"
}

suite() { # NAME EPOCHS MICRO_BATCH
    echo "{base: $base, title: 'On a GPU, $2 epochs', hardware: gpu, models: [$middle], targets: [0.53], seeds: [0],
          methods: $methods, training: {micro_batch: $3, precision: auto, score_every: $2,
          dense: {epochs: $2}, pretrained: {epochs: $2}, scratch: {epochs: $2}}}" > "params/$1.yaml"
}

epochs() { # that fit into ten minutes, by the speed just measured: of a dense network, then of six that share the GPU
    [ "$rehearse" ] && echo 2 || awk -F '|' '/our loop, PSAP/ {
        found = int(600 * $3 / 50000 / 4); print found > 200 ? 200 : found < 5 ? 5 : found }' "$out/train-$middle.txt"
}

: > "$out/steps.txt"
[ "$rehearse" ] || step gpu 60 nvidia-smi
step machine 60 "$python" -c "
import json, torch
from psap.suites.provenance import provenance
print(json.dumps(provenance(torch.device('cuda' if torch.cuda.is_available() else 'cpu'), 'auto'), indent=1))"
step tests 420 "$python" -m pytest -p no:cacheprovider tests/training/test_device.py tests/data/test_batches.py
for network in "$small" "$middle"; do
    step "train-$network" 150 "$python" -m psap bench train "$network" "${often[@]}"
done
step "train-${large#*:}" 240 "$python" -m psap bench train "$large" --size "$size" "${often[@]}"
suite gpu-check "$(epochs)" null
step study 900 "$python" -m psap reproduce gpu-check --anyway
cp -r params/gpu-check.yaml results/gpu-check "$out"
if [ "$rehearse" ] || [ "$("$python" -c 'import torch; print(torch.cuda.device_count())')" -gt 1 ]; then
    suite gpu-ranks 2 64
    step ranks 300 "$python" -m psap train "gpu-ranks/$middle/dense/seed0" --processes 2
fi
du -sh "$out"
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}; see $out/<name>.txt" >&2; exit 1; }
