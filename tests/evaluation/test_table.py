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


def test_errors_stand_beside_their_figures(capsys) -> None:
    name = "label_to_image_accuracy_substitution"
    figures = {name: 0.98765, f"{name}/n": 1800, f"{name}/standard_error": 0.00432}
    figures |= {"spread": 0.5, "spread/n": 8, "spread/standard_error": float("nan")}
    figures |= {"one": None, "one/n": 0, "one/standard_error": None}
    figures |= {"two": float("nan"), "two/n": 0}
    print_figures(figures, "step 6")
    lines = capsys.readouterr().out.splitlines()
    assert [" ".join(line.split()) for line in lines[1:]] == [
        f"{name} 0.9877 ± 0.0043 (n = 1800)",
        "spread 0.5 (n = 8)",
        "one - (n = 0)",
        "two - (n = 0)",
    ]
    assert max(map(len, lines)) <= 80
