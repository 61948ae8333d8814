"""Attacks from names and options; an option that an attack does not take is a usage error, not ignored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import typer

from epsball.cli.options import EPS

if TYPE_CHECKING:
    from epsball.attacks.base import Attack

#: The name of every attack on the command line and its class in `epsball.attacks`.
CLASSES = {
    "fgsm": "FGSM", "rfgsm": "RFGSM", "bim": "BIM", "ilcm": "ILCM", "pgd": "PGD", "momentum-pgd": "MomentumPGD",
    "adam-pgd": "AdamPGD", "apgd": "APGD", "slide": "SLIDE", "max-confidence": "MaxConfidence", "square": "Square",
    "random-search": "RandomSearch", "spsa": "SPSA", "nes": "NES", "jitter": "Jitter", "smooth-pgd": "SmoothPGD",
    "autoattack": "AutoAttack", "deepfool": "DeepFool", "cw": "CarliniWagner",
    "ddn": "DDN", "fmn": "FMN", "fab": "FAB", "ead": "EAD", "jsma": "JSMA",
    "lbfgs": "LBFGS", "virtual-adversarial": "VirtualAdversarial", "universal": "Universal",
    "boundary": "Boundary", "hop-skip-jump": "HopSkipJump", "sparsefool": "SparseFool",
    "one-pixel": "OnePixel", "pixle": "Pixle",
    "newton-fool": "NewtonFool", "pointwise": "Pointwise",
}  # fmt: skip
if TYPE_CHECKING:
    Name: TypeAlias = str  # a type checker knows no Literal of computed names; typer makes a choice of it
else:
    Name = Literal[tuple(CLASSES)]


def build(names: Sequence[str], *, no_clip: bool = False, **options: Any) -> list[Attack]:
    """Build attacks; each takes those of the options that it knows.

    Parameters
    ----------
    names
        Keys of `CLASSES`.
    no_clip
        Leave the box [0, 1].
    **options
        Fields of the attacks; None means the attack's default, or `EPS` for the eps of those that have one.

    Raises
    ------
    typer.BadParameter
        A name is unknown, an option was given that none of the attacks takes, or a value that one of them refuses.
    """
    from epsball import attacks

    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if no_clip:
        given["bounds"] = None
    built, used = [], set()
    for name in names:
        if name not in CLASSES:
            raise typer.BadParameter(f"no attack {name!r}, expected one of {', '.join(CLASSES)}")
        cls = getattr(attacks, CLASSES[name])
        known = {field.name for field in fields(cls)}
        taken = known & given.keys()
        chosen = {option: given[option] for option in taken}
        if "eps" in known:
            chosen.setdefault("eps", EPS)
        try:
            built.append(cls(**chosen))
        except ValueError as error:
            raise typer.BadParameter(f"{name}: {error}") from error
        used |= taken
    if unused := given.keys() - used - {"seed"}:  # a seed is always welcome: not every attack draws
        option = "--" + sorted(unused)[0].replace("_", "-")
        raise typer.BadParameter(f"{option} means nothing to {', '.join(names)}")
    return built
