#!/usr/bin/env bash
# R²VPO in verl's trainer with separate GPUs for sampling, four updates to one renewal of its weights.
# Half of the machine trains and half samples. train_batch_size is parameter_sync_step * ppo_mini_batch_size.
# Wants verl's data preparation for GSM8K, and GPUs: ./separate_async.sh [more overrides]
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
  actor_rollout_ref.rollout.nnodes=1 \
  actor_rollout_ref.rollout.n_gpus_per_node="${GPUS:-4}" \
  actor_rollout_ref.rollout.checkpoint_engine.backend=nccl \
  trainer.v1.separate_async.parameter_sync_step=4 \
  trainer.v1.trainer_mode=separate_async \
  trainer.v1.sampler.custom_sampler.path=pkg://r2vpo.integrations.verl.sampler \
  trainer.v1.sampler.custom_sampler.name=ReplaySamplerAsync \
  +trainer.v1.sampler.sampler_kwargs.versions=5 \
  trainer.nnodes=1 \
  trainer.n_gpus_per_node="${GPUS:-4}" \
  trainer.total_epochs=5 \
  trainer.project_name=r2vpo \
  trainer.experiment_name=separate_async \
  "$@"
