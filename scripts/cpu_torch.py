"""Let a CUDA build of torch be imported on a machine without CUDA's libraries, for the CPU's part of it.

The package index has no other build of older releases for Linux, and CUDA's libraries take gigabytes. For each library
that torch is linked against and that is missing, this writes a stand-in next to torch whose functions abort. The real
package `nvidia-cuda-runtime` is still needed, because it is what reports that there is no GPU.

    python scripts/cpu_torch.py        # in the environment whose torch it is; needs gcc and binutils
"""

from __future__ import annotations

import re
import subprocess
import sysconfig
from pathlib import Path

LIBRARIES = Path(sysconfig.get_path("purelib")) / "torch" / "lib"
IMPORTED = ("libtorch_python.so", "libtorch_global_deps.so")


def write_stand_ins() -> None:
    """Write a library for each one that `import torch` does not find."""
    missing = {name for library in IMPORTED for name in re.findall(r"(\S+) => not found", _run("ldd", library))}
    tables = [_run("nm", "-D", library.name) for library in LIBRARIES.glob("*.so")]
    used = {symbol for table in tables for symbol in re.findall(r" U (\w+@?\S*)", table)}
    for library in sorted(missing):
        names = sorted(symbol.partition("@")[0] for symbol in used if _is_of(library, symbol))
        code = "void abort(void);\n" + "".join(f"void {name}(void) {{ abort(); }}\n" for name in names)
        command = [
            "gcc",
            "-shared",
            "-fPIC",
            "-w",
            f"-Wl,-soname,{library}",
            "-o",
            str(LIBRARIES / library),
            "-xc",
            "-",
        ]
        subprocess.run(command, input=code, text=True, check=True)
    print(f"{len(missing)} stand-ins in {LIBRARIES}")


def _is_of(library: str, symbol: str) -> bool:
    """Return whether a library provides a symbol: by the symbol's version, or by its prefix if it has none."""
    name, _, owner = symbol.partition("@")
    return owner == library or (not owner and name.lower().startswith(library.partition(".")[0][3:].lower()))


def _run(*command: str) -> str:
    return subprocess.run(command, cwd=LIBRARIES, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    write_stand_ins()
