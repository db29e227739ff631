"""R²VPO inside other trainers: each subpackage translates one framework and calls the core; none needs another."""
