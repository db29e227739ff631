"""The mathematics of R²VPO in pure torch: objectives, multipliers, step control, advantages, diagnostics.

The package imports only torch and the standard library, so every formula can be read, run and tested separately on a
CPU. Trainers and frameworks only translate their names and call it.
"""
