"""Drop-in for torchattacks: its names, signatures and defaults; tensors in, tensors out; the attacks are epsball's.

``import epsball.interop.torchattacks as torchattacks`` is the whole migration. What differs, and is meant to:

- An iterative attack returns the best iterate of each row (misclassified first, then the highest loss), not the last;
  the bound is exact, and a gradient of 1e-30 is a direction. Single steps (`FGSM`) give the same points.
- `PGDL2` starts uniformly in the ball; torchattacks draws the length uniformly, so that most of its starts are near x.
- Inputs outside [0, 1] are an error; torchattacks clips its results only.
- Minimum-norm attacks return the nearest misclassified point; a row that they do not break comes back as it was.
- Nothing is printed, by `save` neither.
- `DIFGSM` and `TIFGSM` resize every row by itself, torchattacks all rows of a batch alike.
- `SparseFool`, `OnePixel` and `Pixle` return x itself for a row that they do not break.
- Random draws come from epsball's counters, seeded from torch's global generator, so that ``torch.manual_seed`` makes
  them repeat, as there.

Not here: `LGV`, which trains the torch module that it attacks; `PIFGSM` and `PIFGSMPP`, whose steps are as large as the
ball; `Pixle`'s mappings other than "random"; models in training mode.

The model given is followed: its weights are those it has at each call, it is computed by the engine where
`epsball.from_torch` knows its layers, and ``attack.engine`` and the repr say so, or why not.
"""

from __future__ import annotations

from typing import Any

from epsball.interop.torchattacks.autoattack import APGD, APGDT, FAB, AutoAttack, Square
from epsball.interop.torchattacks.base import Attack
from epsball.interop.torchattacks.gradient import (
    BIM,
    EOTPGD,
    FFGSM,
    FGSM,
    PGD,
    PGDL2,
    PGDRS,
    PGDRSL2,
    RFGSM,
    SPSA,
    TPGD,
    UPGD,
    Jitter,
)
from epsball.interop.torchattacks.nearest import (
    CW,
    EADEN,
    EADL1,
    JSMA,
    DeepFool,
    OnePixel,
    Pixle,
    SparseFool,
)
from epsball.interop.torchattacks.others import GN, VANILA, MultiAttack
from epsball.interop.torchattacks.transfer import DIFGSM, MIFGSM, NIFGSM, SINIFGSM, TIFGSM, VMIFGSM, VNIFGSM

__all__ = [
    "APGD",
    "APGDT",
    "BIM",
    "CW",
    "DIFGSM",
    "EADEN",
    "EADL1",
    "EOTPGD",
    "FAB",
    "FFGSM",
    "FGSM",
    "GN",
    "JSMA",
    "MIFGSM",
    "NIFGSM",
    "PGD",
    "PGDL2",
    "PGDRS",
    "PGDRSL2",
    "RFGSM",
    "SINIFGSM",
    "SPSA",
    "TIFGSM",
    "TPGD",
    "UPGD",
    "VANILA",
    "VMIFGSM",
    "VNIFGSM",
    "Attack",
    "AutoAttack",
    "DeepFool",
    "Jitter",
    "MultiAttack",
    "OnePixel",
    "Pixle",
    "SparseFool",
    "Square",
]


def __getattr__(name: str) -> Any:
    raise AttributeError(f"epsball.interop.torchattacks has no {name!r} in this version")
