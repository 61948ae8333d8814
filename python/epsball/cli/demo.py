"""`epsball demo`: train, attack, train adversarially and attack again, on real digits, in under a minute."""

from __future__ import annotations

from epsball.cli import options


def demo(
    report: options.Report = None,
    rows: options.Rows = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Train, attack, train against attacks, attack again."""
    from epsball import demo as job
    from epsball import reports
    from epsball.cli import output
    from epsball.reports import files, progress

    if report is not None:
        reports.require()
    output.check_folder(report)
    with progress.bars() as bars:
        result = job.run(rows=rows, seed=seed, progress=bars)
    if report is not None:
        from epsball.demo_page import demo_page

        files.write_text(report / "demo.json", files.to_json(result.to_dict()) + "\n")
        files.write_text(report / "index.html", demo_page(result))
        output.note(f"Written: {report / 'index.html'}")
    if json:
        output.json(result.to_dict())
    else:
        settings = result.settings
        caption = (
            f"Attacks: Linf, eps = {settings['eps']}, box [0, 1], on {settings['test_rows']} test digits; "
            f"PGD of {settings['attack_steps']} steps. Errors under attack are lower bounds. "
            f"{result.seconds:.0f} s in all."
        )
        output.table(result.table(), caption=caption)
