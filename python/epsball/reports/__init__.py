"""Results for people: tables as text, and self-contained HTML pages (the pages need the `report` extra)."""

from __future__ import annotations

import importlib.util

__all__ = ["require"]


def require() -> None:
    """Check that what the HTML pages need is installed, before work starts whose result would have no page.

    Raises
    ------
    ImportError
        Names what is missing and the extra to install.
    """
    missing = [name for name in ("jinja2", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f'an HTML report needs {" and ".join(missing)}: pip install "epsball[report]"')
