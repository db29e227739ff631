"""R²VPO in verl: `actor_rollout_ref.actor.policy_loss.loss_mode=r2vpo`, by the entry point `verl.plugins`."""
