"""R²VPO in OpenRLHF: `r2vpo openrlhf -- <OpenRLHF's own arguments>`."""
