"""The steps by which the reward `math` reads and compares answers.

`place` finds the answer in a completion, and `stated` finds it in a text without a box, where `denied` says what does
not count; `normal` writes it in plain LaTeX, `shapes` takes apart lists, sets, intervals and equations, `answer` does
both, and `compare` decides; below it, `names` and `equations` say what an equation gives a value to, `exact` and
`rationals` have rational arithmetic, `regions` sets of real numbers, and `symbolic` everything else. Only `symbolic`
and `regions` use sympy.
"""
