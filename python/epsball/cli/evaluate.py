"""`epsball evaluate`: clean and robust accuracy of a saved model under a list of attacks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from epsball.cli import options


def evaluate(
    model: options.ModelFile,
    data: options.Data = "mnist-subset",
    split: options.Split = "test",
    attacks: Annotated[str, typer.Option(help="Attacks, separated by commas.", metavar="NAME,NAME,...")] = "fgsm,pgd",
    eps: options.Eps = None,
    norm: options.Norm = None,
    steps: options.Steps = None,
    restarts: options.Restarts = None,
    no_clip: options.NoClip = False,
    rows: options.Rows = None,
    seed: options.Seed = 0,
    state: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Written as attacks go on; if it is there, resume from it.")
    ] = None,
    report: options.Report = None,
    json: options.Json = False,
) -> None:
    """Measure the clean and robust accuracy of a saved model."""
    import epsball as eb
    from epsball import reports
    from epsball.cli import attacks as attack_options
    from epsball.cli import output
    from epsball.reports import progress

    if report is not None:
        reports.require()
    built = attack_options.build(
        options.listed(attacks), eps=eps, norm=norm, steps=steps, restarts=restarts, no_clip=no_clip, seed=seed
    )
    target = eb.load(model)
    x, y = (array[:rows] for array in eb.datasets.load(data, split))
    output.check_folder(report)
    output.check_file(state)
    with progress.bars() as bars:
        found = eb.evaluate(target, x, y, attacks=built, state=state, progress=bars)
    if report is not None:
        found.to_json(report / "evaluation.json")
        found.to_html(report / "index.html")
        output.note(f"Written: {report / 'index.html'}")
    if json:
        output.json({"file": str(model), "data": data, "split": split, **found.to_dict()})
    else:
        output.table(found.table(), title=f"{model}: {len(x)} rows of {data}, {split}")
