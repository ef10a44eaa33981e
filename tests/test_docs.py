"""What the pages name is there: links with their anchors, files, modules, configs."""

import importlib
import importlib.util
import pathlib
import re
import types

import pytest

import cdcd_jax

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
# Where a path of a page may begin: at the top, in the package or in one of its rooms.
STARTS = ("", "cdcd_jax/", "cdcd_jax/*/", "cdcd_jax/*/*/", "configs/**/", "launch/")
# What whoever reads is to write, or what lies in another project's code.
OTHERS = {
    *("my_sounds.py", "pictures.py", "own.py", "beats_scores.py"),
    *("val/", "test/", "checkpoints/"),
}


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to headlines."""
    outside = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    found = set()
    for head in re.findall(r"^#+ (.+)$", outside, re.M):
        plain = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", head).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


def is_there(path: str) -> bool:
    """Whether a file or a folder is where its name says, or in a room."""
    return any(any(ROOT.glob(f"{start}{path}".rstrip("/"))) for start in STARTS)


def is_named(name: str) -> bool:
    """Whether a dotted name is a module of the package, or stands in one."""
    found = cdcd_jax
    for last in name.split(".")[1:]:
        if isinstance(found, types.ModuleType) and hasattr(found, "__path__"):
            whole = f"{found.__name__}.{last}"
            if importlib.util.find_spec(whole):
                found = importlib.import_module(whole)
                continue
        if not hasattr(found, last):
            return False
        found = getattr(found, last)
    return True


def broken(page: pathlib.Path) -> list[str]:
    """What a page names and is not there."""
    text, found = page.read_text(), []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        if "://" in target:
            continue
        if not file.exists() or (anchor and anchor not in anchors(file.read_text())):
            found.append(target)
    text = re.sub(r"\]\([^)\s]+\)", "]", text)
    files = r"(?<![\w/.~<*{])(?:[\w-]+/)*\w+\.(?:py|sh|sbatch|yaml)\b"
    folders = r"`((?:\w+/)+)`"
    for path in re.findall(files, text) + re.findall(folders, text):
        if path not in OTHERS and not is_there(path):
            found.append(path)
    names = re.findall(r"(?<![\w/])cdcd_jax(?:\.[a-zA-Z_]\w*)+", text)
    return found + [name for name in names if not is_named(name)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page):
    assert broken(page) == []


def test_the_index_names_every_page():
    index = (ROOT / "docs/README.md").read_text()
    named = set(re.findall(r"\]\((\w+\.md)\)", index))
    assert named == {page.name for page in ROOT.glob("docs/*.md")} - {"README.md"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see [this](gone.md)", ["gone.md"]),
        ("see [this](#gone)", ["#gone"]),
        ("see [this](#what-is-here), `diffusion/`, [a](https://x.y/z)", []),
        ("`cdcd_jax/train.py`", ["cdcd_jax/train.py"]),
        ("in `tasks/gone.py` and `step.py`", ["tasks/gone.py"]),
        ("`gone/`, `networks/`", ["gone/"]),
        ("`cdcd_jax.train`, cdcd_jax.open(x), cdcd_jax.gone", ["cdcd_jax.gone"]),
        ("cdcd_jax.training.loop.train", []),
        ("`cdcd_jax.training.loop.gone`", ["cdcd_jax.training.loop.gone"]),
    ],
)
def test_what_is_not_there_is_found(text, found, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"# What is here?\n\n{text}\n")
    assert broken(page) == found


def test_the_config_of_own_pictures_can_be_run(tmp_path):
    """As it stands in docs/data.md: every stage and the model pass the door."""
    from cdcd_jax.api import load_config
    from cdcd_jax.stages import order

    text = (ROOT / "docs/data.md").read_text().partition("## One's own pictures")[2]
    body = re.search(r"^```python\n(.*?)^```", text, re.M | re.S).group(1)
    (tmp_path / "pictures.py").write_text(body)
    config = load_config(str(tmp_path / "pictures.py"))
    config = config.to_dict() if hasattr(config, "to_dict") else config
    stages = order.in_order(config["stages"])
    assert list(stages) == ["codec", "records"]
    for settings in (config, *stages.values()):
        order.check(settings)
    commands = re.findall(r"^    python -m cdcd_jax.main .*--mode=(\w+)", text, re.M)
    assert commands[:4] == ["pretokenize", "inspect", "generate", "evaluate"]
