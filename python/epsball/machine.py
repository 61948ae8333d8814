"""What this machine offers the engine."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from epsball import __version__, _native
from epsball.device import cuda_problem


def backends() -> list[str]:
    """Return the names of the kernel tables this machine can run, slowest first."""
    return list(_native.tables())


def info() -> dict[str, Any]:
    """Return version, processor, tables, the one chosen, threads, OpenMP and CUDA, ready for JSON."""
    executor = _native.executor()
    return {
        "version": __version__,
        "cpu": cpu_name(),
        "architecture": platform.machine(),
        "tables": backends(),
        "chosen": _native.table(),
        "forced_by_EPSBALL_ISA": os.environ.get("EPSBALL_ISA") or None,
        "threads": _native.threads(),
        "executor": executor,
        "openmp": executor == "openmp",
        "cuda": cuda_problem() or "usable",
    }


def cpu_name() -> str:
    """Return the processor's name as the operating system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
