"""Comparisons on control tasks: methods x tasks x learning rates x seeds, by the return of episodes in training."""
