"""The tolerances of the suite, one per precision: dtype, atol and rtol are fixed together."""

FLOAT64 = {"rtol": 1e-10, "atol": 1e-10}
FLOAT32 = {"rtol": 1e-5, "atol": 1e-6}
BF16 = {"rtol": 1.6e-2, "atol": 1.6e-2}
