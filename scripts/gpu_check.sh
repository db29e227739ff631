#!/usr/bin/env bash
# What this project's tests on CPUs cannot run, on a machine with NVIDIA GPUs. Its output goes to docs/results/gpu_check/.
#
#   scripts/gpu_check.sh [STEP...]     all of them by default: doctor parity timing train vllm vllm_server verl openrlhf
#
# PYTHON has r2vpo[trl] and a torch that sees the GPUs; VLLM_PYTHON that and vLLM; VERL_PYTHON and OPENRLHF_PYTHON have
# r2vpo beside verl and beside OpenRLHF. One that is not set leaves its steps out, and the summary says so. No network is
# needed: the model is the one that comes in a package. A step ends after LIMIT seconds (600).
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
out=${OUT:-docs/results/gpu_check}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
limit=${LIMIT:-600}
small="trainer.device=cuda trainer.max_steps=32 trainer.save_steps=16"

if ! gpus=$(nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader 2>/dev/null) || [ -z "$gpus" ]; then
  echo "error: nvidia-smi finds no GPU: run this on a machine that has one; on a CPU the tests are make test" >&2
  exit 2
fi
if ! "$python" -c 'import r2vpo.trl, torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
  echo "error: $python has no r2vpo[trl] with a torch that sees the GPU: set PYTHON to one that has" >&2
  exit 2
fi
count=$(wc -l <<<"$gpus")

r2vpo() { "$1" -m r2vpo.cli.main "${@:2}"; }
folder_of_model() {
  "$python" -c 'from r2vpo.models import resolve_model; print(resolve_model("embedded/smollm2-135m"))' 2>/dev/null | tail -1
}

doctor() { r2vpo "$python" doctor; }
parity() { "$python" scripts/gpu_parity.py; }
timing() { "$python" benchmarks/log_probs.py --device cuda --only head,training,long --output "$out/log_probs.json"; }
train() { r2vpo "$python" train quickstart --runs-dir "$work/train" --set $small; }
vllm() { r2vpo "$VLLM_PYTHON" train quickstart --runs-dir "$work/vllm" --set rollout.sampler=vllm $small; }

vllm_server() {
  local model
  model=$(folder_of_model)
  CUDA_VISIBLE_DEVICES=1 VLLM_SERVER_DEV_MODE=1 "$VLLM_PYTHON" -m vllm.entrypoints.openai.api_server --model "$model" \
    --port 8017 --max-model-len 512 --weight-transfer-config '{"backend": "nccl"}' --logprobs-mode processed_logprobs \
    --max-logprobs -1 &
  local server=$!
  CUDA_VISIBLE_DEVICES=0 r2vpo "$VLLM_PYTHON" train quickstart --runs-dir "$work/server" \
    --set rollout.sampler=vllm 'rollout.vllm={mode: server, port: 8017}' $small
  local state=$?
  kill "$server"
  return "$state"
}

verl() {
  "$python" scripts/gpu_task.py "$work/task" &&
    PATH="$(dirname "$VERL_PYTHON"):$PATH" MODEL=$(folder_of_model) DATA="$work/task" GPUS=$count examples/verl/sync.sh \
      data.train_batch_size=32 \
      data.max_response_length=64 \
      actor_rollout_ref.actor.ppo_mini_batch_size=8 \
      reward.custom_reward_function.path="$PWD/scripts/gpu_task.py" \
      trainer.logger='[console]' \
      trainer.total_training_steps=6 \
      trainer.default_local_dir="$work/verl"
}

openrlhf() {
  "$python" scripts/gpu_task.py "$work/task" &&
    r2vpo "$OPENRLHF_PYTHON" openrlhf -- \
      --actor.model_name_or_path "$(folder_of_model)" \
      --data.prompt_dataset "$work/task/prompts.jsonl" \
      --data.label_key label \
      --data.max_len 256 \
      --rollout.max_new_tokens 64 \
      --rollout.batch_size 32 \
      --rollout.n_samples_per_prompt 4 \
      --train.batch_size 32 \
      --train.dynamic_batch_enable \
      --train.max_tokens_per_gpu 4096 \
      --data.max_samples 192 \
      --reward.remote_url "$PWD/scripts/gpu_task.py" \
      --algo.advantage.estimator group_norm \
      --algo.advantage.is_correction_level token \
      --algo.kl.init_coef 0 \
      --actor.num_gpus_per_node "$count" \
      --vllm.num_engines "$count" \
      --vllm.gpu_memory_utilization 0.4 \
      --vllm.enable_sleep \
      --ds.enable_sleep \
      --train.colocate_all \
      --ckpt.path "$work/openrlhf/checkpoints" \
      --ckpt.output_dir "$work/openrlhf/model"
}

# Why a step cannot run here, or nothing.
missing() {
  case $1 in
    vllm) [ -n "${VLLM_PYTHON:-}" ] || echo "VLLM_PYTHON is not set" ;;
    vllm_server)
      if [ -z "${VLLM_PYTHON:-}" ]; then
        echo "VLLM_PYTHON is not set"
      elif [ "$count" -lt 2 ]; then
        echo "it takes two GPUs"
      fi
      ;;
    verl) [ -n "${VERL_PYTHON:-}" ] || echo "VERL_PYTHON is not set" ;;
    openrlhf) [ -n "${OPENRLHF_PYTHON:-}" ] || echo "OPENRLHF_PYTHON is not set" ;;
  esac
}

steps=(doctor parity timing train vllm vllm_server verl openrlhf)
for step in "$@"; do
  if [[ " ${steps[*]} " != *" $step "* ]]; then
    echo "error: there is no step $step: choose from ${steps[*]}" >&2
    exit 2
  fi
done
[ $# -gt 0 ] && steps=("$@")

mkdir -p "$out"
export python out work count small
export -f r2vpo folder_of_model doctor parity timing train vllm vllm_server verl openrlhf
failed=0
{
  echo "# On GPUs"
  echo
  echo "\`scripts/gpu_check.sh${*:+ $*}\` at $(git rev-parse --short HEAD)$(git diff --quiet HEAD -- src || echo ', with changes'), $(date -u +%F):"
  echo
  sed 's/^/- /' <<<"$gpus"
  echo
  echo "| step | state | seconds | its last line |"
  echo "|---|---|---|---|"
} >"$out/summary.md"
for step in "${steps[@]}"; do
  log="$out/$step.txt" started=$SECONDS
  reason=$(missing "$step")
  if [ -n "$reason" ]; then
    state="left out: $reason" last=""
  else
    echo "== $step"
    # It ends a step's whole process group: nothing that it started outlives it.
    timeout --kill-after=10 "$limit" bash -c "$step" >"$log" 2>&1 </dev/null
    code=$?
    if [ "$code" -eq 0 ]; then state=passed; else state="failed ($code)" failed=1; fi
    last=$(grep -v '^[[:space:]]*$' "$log" | tail -1 | cut -c1-160 | tr '|' '/')
  fi
  echo "$step: $state"
  echo "| $step | $state | $((SECONDS - started)) | $last |" >>"$out/summary.md"
done
echo "wrote $out/summary.md"
exit "$failed"
