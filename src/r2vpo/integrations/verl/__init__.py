"""R²VPO in verl."""
