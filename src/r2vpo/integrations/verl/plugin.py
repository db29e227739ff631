"""Plugin that verl loads in every process (entry point `verl.plugins`): the loss, and the worker that steps it."""

from verl.trainer.ppo.core_algos import register_policy_loss
from verl.workers.engine_workers import ActorRolloutRefWorker

from r2vpo.integrations.verl.loss import policy_loss
from r2vpo.integrations.verl.options import LOSS_MODE
from r2vpo.integrations.verl.worker import R2VPOTrainingWorker

register_policy_loss(LOSS_MODE)(policy_loss)
ActorRolloutRefWorker.actor_worker_cls = R2VPOTrainingWorker
