"""OpenRLHF imports flash_attn and vllm, which have no build for CPUs."""

from tests.frameworks.openrlhf.shims import install

install()
