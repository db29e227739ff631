"""How the reward `math` reads and compares answers, step by step.

`place` finds the answer in a completion, `normal` writes it in plain LaTeX, `shapes` takes lists, sets, intervals and
equations apart, `compare` decides; below it, `exact` has rational arithmetic, `regions` sets of real numbers, and
`symbolic` whatever is left. Only `symbolic` and `regions` use sympy.
"""
