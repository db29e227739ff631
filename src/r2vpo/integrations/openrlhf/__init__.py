"""R²VPO in OpenRLHF."""
