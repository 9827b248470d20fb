"""`snakemake --report` holds what the rules mark: tables, figures and the report of every suite."""

import zipfile

from project_helpers import Project


def test_the_report_of_snakemake_holds_tables_figures_and_the_report(finished: Project) -> None:
    done = finished.snakemake("tiny", "--report", "all.zip")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(finished.folder / "all.zip") as made:
        held = {name.rpartition("/")[2] for name in made.namelist()}
    assert {"table.csv", "report.html", "accuracy.svg"} <= held, held
