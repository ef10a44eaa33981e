"""Figures as they are printed: one a line, and a table of the points of a sweep."""

from cdcd_jax.evaluation.table import print_figures


def test_a_line_for_each_figure_and_for_each_point(capsys) -> None:
    figures = {
        "step": 6,
        **{"fid": 1.23456, "fid/n": 20, "spread": None},
        **{"fid@steps=1": 2.0, "fid@steps=1/n": 20, "spread@steps=1": 0.5},
        "fid@steps=3": None,
    }
    print_figures(figures, "step 6")
    assert capsys.readouterr().out.splitlines() == [
        "evaluation of step 6",
        "fid     1.235  (n = 20)",
        "spread                -",
        "point    fid  spread",
        "steps=1    2     0.5",
        "steps=3    -        ",
    ]
