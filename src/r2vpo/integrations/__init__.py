"""R²VPO in other trainers: each subpackage adapts one framework to the core, independently of the others."""
