"""`epsball info`: what epsball found on this machine."""

from __future__ import annotations

from epsball.cli import options


def info(json: options.Json = False) -> None:
    """Show version, CPU, kernel tables, threads, CUDA."""
    import epsball as eb
    from epsball.cli import output

    found = eb.info()
    if json:
        output.json(found)
    else:
        output.facts({name: _words(value) for name, value in found.items()})


def _words(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
