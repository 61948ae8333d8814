"""`epsball attack`: attack a saved model and keep the adversarial examples."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from epsball.cli import attacks, options

if TYPE_CHECKING:
    from epsball.attacks.base import Attack, AttackResult


def attack(
    model: options.ModelFile,
    out: Annotated[Path | None, typer.Option(dir_okay=False, help="Keep x_adv, y and more in this .npz file.")] = None,
    data: options.Data = "mnist-subset",
    split: options.Split = "test",
    attack: Annotated[attacks.Name, typer.Option(help="Which attack.")] = "pgd",
    eps: options.Eps = None,
    norm: options.Norm = None,
    steps: options.Steps = None,
    step_size: Annotated[
        float | None, typer.Option(parser=options.number, help="Step size.  [default: 2.5 eps / steps]")
    ] = None,
    restarts: options.Restarts = None,
    no_clip: options.NoClip = False,
    rows: options.Rows = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Attack a saved model on a data set."""
    options.require_suffix("--out", out, ".npz")
    import epsball as eb
    from epsball.cli import output
    from epsball.reports.tables import Table, number, percent

    built = attacks.build(
        [attack], eps=eps, norm=norm, steps=steps, step_size=step_size, restarts=restarts, no_clip=no_clip, seed=seed
    )[0]
    target = eb.load(model)
    x, y = (array[:rows] for array in eb.datasets.load(data, split))
    output.check_file(out)
    result = built.run(target, x, y)
    found = {
        "rows": len(x),
        "clean_error": float((target.predict(x) != y).mean()),
        "adversarial_error": float((target.predict(result.x_adv) != y).mean()),
        "largest_distance": float(result.distance.max()),
        "zero_gradient_rows": int(result.zero_gradient.sum()),
    }
    if out is not None:
        _save(out, built, result, y)
    if json:
        document = {"model": str(model), "data": data, "split": split, "attack": built.to_dict(), **found}
        output.json({**document, "out": None if out is None else str(out)})
    else:
        cells = (
            attack,
            number(found["rows"]),
            percent(found["clean_error"]),
            percent(found["adversarial_error"]),
            number(found["largest_distance"], 4),
            number(found["zero_gradient_rows"]),
        )
        header = ("attack", "rows", "clean error", "adversarial error", "largest distance", "rows without gradient")
        output.table(Table(header, (cells,)), caption=None if out is None else f"Written to {out}")


def _save(out: Path, attack: Attack, result: AttackResult, y: Any) -> None:
    """Write the arrays and the attack's configuration: temporary name, then rename."""
    import numpy as np

    from epsball.reports import files

    configuration = json_module.dumps(attack.to_dict())
    with files.replacing(out) as temporary:
        np.savez_compressed(
            temporary,
            x_adv=result.x_adv,
            y=y,
            success=result.success,
            distance=result.distance,
            loss=result.loss,
            attack=np.array(configuration),
        )
