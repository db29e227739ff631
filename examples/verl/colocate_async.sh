#!/usr/bin/env bash
# R²VPO in verl's trainer that leaves unfinished answers for the next step, on the same GPUs.
# Such an answer is older when it is first trained on; it comes back until it is five versions old.
# Wants verl's data preparation for GSM8K, and GPUs: ./colocate_async.sh [more overrides]
set -euo pipefail
model=${MODEL:-Qwen/Qwen2.5-1.5B-Instruct}
data=${DATA:-$HOME/data/gsm8k}

python3 -m verl.trainer.main_ppo \
  data.train_files="$data/train.parquet" \
  data.val_files="$data/test.parquet" \
  data.train_batch_size=256 \
  data.max_prompt_length=512 \
  data.max_response_length=1024 \
  algorithm.adv_estimator=grpo \
  algorithm.rollout_correction.rollout_is=token \
  actor_rollout_ref.model.path="$model" \
  actor_rollout_ref.actor.policy_loss.loss_mode=r2vpo \
  actor_rollout_ref.actor.policy_loss._target_=r2vpo.integrations.verl.options.PolicyLossOptions \
  +actor_rollout_ref.actor.policy_loss.step_control=false \
  actor_rollout_ref.actor.optim.lr=1e-6 \
  actor_rollout_ref.actor.ppo_mini_batch_size=64 \
  actor_rollout_ref.actor.use_dynamic_bsz=true \
  actor_rollout_ref.rollout.name=vllm \
  actor_rollout_ref.rollout.n=8 \
  actor_rollout_ref.rollout.calculate_log_probs=true \
  actor_rollout_ref.rollout.gpu_memory_utilization=0.6 \
  trainer.v1.colocate_async.num_warmup_batches=1 \
  trainer.v1.trainer_mode=colocate_async \
  trainer.v1.sampler.custom_sampler.path=pkg://r2vpo.integrations.verl.sampler \
  trainer.v1.sampler.custom_sampler.name=ReplaySamplerAsync \
  +trainer.v1.sampler.sampler_kwargs.versions=5 \
  trainer.nnodes=1 \
  trainer.n_gpus_per_node="${GPUS:-8}" \
  trainer.total_epochs=5 \
  trainer.project_name=r2vpo \
  trainer.experiment_name=colocate_async \
  "$@"
