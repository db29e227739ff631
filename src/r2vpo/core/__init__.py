"""The mathematics of R²VPO in pure torch: objectives, multipliers, step control, advantages, diagnostics.

Nothing here imports anything but torch and the standard library, so every formula can be read, run and tested
alone on a CPU; trainers and frameworks only translate their names and call it.
"""
