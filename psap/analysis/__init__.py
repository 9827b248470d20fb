"""From a suite's committed rows to its tables, figures, verdicts and report. Needs no network and no torch."""

from pathlib import Path


def analyse(
    folder: Path,
    published: Path | None = None,
    rules: Path = Path("params/verdicts.yaml"),
    readings: Path = Path("params/readings.yaml"),
) -> None:
    """Read the committed rows in `folder` (results/<suite>) and write everything that is derived from them beside them.

    Writes runs.csv, datapackage.json, table.{csv,md,tex}, metrics.json, figures/*.{svg,png}, claims.json and
    report.html, each atomically, and the same bytes for the same rows. A suite that chooses settings gets settings.csv
    and effects.csv too. `published`: a table of published rows to set beside ours. `rules`: what judges; psap's own
    where there is no such file. `readings`: which variants are readings of the method; none without it. Raises
    PsapError where the suite has no rows yet, or a file is broken.
    """
    # Imported here so that the command line can name this function without waiting for pandas and matplotlib.
    from psap.analysis import claims, dictionary, figures, report, settings, tables
    from psap.analysis import results as collect
    from psap.analysis.claims_file import write_claims
    from psap.analysis.published import beside
    from psap.analysis.readings import read_readings
    from psap.analysis.rules import load
    from psap.utils.files import write_json, write_text

    judged_by = load(rules)
    results = collect.collect(folder, judged_by, read_readings(readings))
    table, verdicts = tables.summarise(results), claims.judge(results)
    sections = beside(results, table, published) if published else []
    write_text(folder / "runs.csv", collect.listing(results).to_csv(index=False))
    write_json(folder / "datapackage.json", dictionary.datapackage(results, folder))
    write_text(folder / "table.csv", table.to_csv(index=False))
    write_text(folder / "table.md", tables.markdown(table))
    write_text(folder / "table.tex", tables.latex(table))
    write_json(folder / "metrics.json", tables.metrics(table))
    chosen = settings.ranking(results) if settings.chooses(results) else None
    if chosen is not None:
        write_text(folder / "settings.csv", chosen.to_csv(index=False))
        write_text(folder / "effects.csv", settings.effects(results).to_csv(index=False))
    judged = {"suite": results.suite.suite, "rules": judged_by.model_dump(mode="json"), "told": judged_by.told()}
    write_claims(folder, judged, verdicts)
    drawn = figures.draw(results, folder / "figures")
    write_text(folder / "report.html", report.render(results, table, verdicts, sections, drawn, chosen))
