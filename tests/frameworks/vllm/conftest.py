"""vLLM's engine for CPUs wants to know how much memory its cache may take, and not to bind its threads."""

import os

os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_NO_USAGE_STATS": "1"}
