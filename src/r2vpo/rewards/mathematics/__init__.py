"""How the reward `math` reads and compares answers, step by step.

`place` finds the answer in a completion, and `stated` in a text without a box, where `denied` says what does not count;
`normal` writes it in plain LaTeX, `shapes` takes lists, sets, intervals and equations apart, `answer` does both, and
`compare` decides; below it, `names` and `equations` say what an equation gives a value to, `exact` has rational
arithmetic, `regions` sets of real numbers, and `symbolic` whatever is left. Only `symbolic` and `regions` use sympy.
"""
