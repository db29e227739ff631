"""R²VPO in OpenRLHF: `r2vpo openrlhf --set variance_delta=0.1 -- <OpenRLHF's own arguments>`."""
