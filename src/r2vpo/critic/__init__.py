"""Value networks of PPO with a critic: what predicts the values that `r2vpo.core.critic` trains and uses."""
