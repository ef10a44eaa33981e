"""`python -m cdcd_jax.convert`, whole: file -> work directory -> the same codes."""

import json
import os
import pathlib

import jax
import layouts
import numpy as np
import pytest

from cdcd_jax.convert import taming
from cdcd_jax.convert.__main__ import main
from cdcd_jax.networks import quantizer as vq
from cdcd_jax.networks.perceptual import Perceptual
from cdcd_jax.networks.vqgan import ImageAutoencoder
from cdcd_jax.runtime.checkpoint import load_parts
from cdcd_jax.tasks import make_task

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPLETE = pathlib.Path(
    os.environ.get("CDCD_JAX_GOLDEN", ROOT.parent / "shared" / "golden")
)
SLOW = pytest.mark.slow
KINDS = {"nearest": "taming", "gumbel": "taming", "ema": "ithq"}
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)


def flags(tmp_path: pathlib.Path, family: str = "taming", **more: object) -> list[str]:
    values = dict(
        family=family, input=tmp_path / "a.safetensors", output=tmp_path / "out"
    )
    if family in ("taming", "ithq"):
        values["resolution"] = 16
    return [f"--{name}={value}" for name, value in {**values, **more}.items()]


def restored(workdir: pathlib.Path) -> tuple:
    """The task of a work directory, its parameters and its extra."""
    task = make_task(json.loads((workdir / "config.json").read_text()))
    wanted = jax.eval_shape(task.init, jax.random.key(0))
    return task, *load_parts(workdir, *wanted)[1:]


def direct_codes(state: dict, kind: str, book: str) -> np.ndarray:
    """Codes of `IMAGES` without files, config or task."""
    sizes = taming.read_sizes(state, book, 16, "state")
    net = ImageAutoencoder(**sizes, gumbel_codes=24 * (kind == "gumbel"))
    others = {n: v.shape for n, v in state.items() if n.startswith("quantize.")}
    others = {n: s for n, s in others.items() if "proj" not in n}
    params = taming.autoencoder_params(net, state, others, "state")
    encode = lambda x: net.apply({"params": params}, x, method="encode")[0]
    z = jax.jit(encode)(IMAGES.astype(np.float32) / 127.5 - 1)
    codes = z.argmax(-1) if kind == "gumbel" else vq.nearest_codes(z, state[book])
    return np.asarray(codes).reshape(len(IMAGES), -1)


@pytest.mark.parametrize(
    "kind", ["ema", *(pytest.param(k, marks=SLOW) for k in ("nearest", "gumbel"))]
)
def test_codes_after_a_round_trip(tmp_path: pathlib.Path, kind: str) -> None:
    layout = layouts.vqgan(kind=kind)
    state = layouts.random_state(layout)
    layouts.write(tmp_path / "a.safetensors", state)
    assert main(flags(tmp_path, KINDS[kind])) == 0
    task, params, extra = restored(tmp_path / "out")
    assert task.grid() == (8, 8)
    ours = jax.jit(task.encode_media)(params, extra, IMAGES)
    book = next(n for n in layout if "embed" in n)
    np.testing.assert_array_equal(ours, direct_codes(state, kind, book))
    assert len(np.unique(ours)) > 3


def test_the_reference_through_files(tmp_path: pathlib.Path) -> None:
    """taming-transformers' weights, codes, table of codes and decoded images."""
    path = COMPLETE / "parity_vqgan.npz"
    if not path.exists():
        pytest.skip("no parity_vqgan.npz: name its folder, CDCD_JAX_GOLDEN")
    golden = np.load(path)
    state = {k[7:]: golden[k] for k in golden.files if k.startswith("params/")}
    layouts.write(tmp_path / "a.safetensors", state)
    table = tmp_path / "table.npy"
    np.save(table, golden["codec/full_to_quantize"])
    assert main(flags(tmp_path, remap=table, remap_codes=55)) == 0
    task, params, extra = restored(tmp_path / "out")
    assert task.num_codes == 55
    # not whole numbers, as the reference's images are not
    x = np.moveaxis(golden["codec/img255"], 1, -1)
    codes = jax.jit(task.encode_media)(params, extra, x)
    np.testing.assert_array_equal(codes, golden["codec/token"])
    images = jax.jit(task.decode_codes)(params, extra, codes)
    decoded = np.moveaxis(golden["codec/decoded255"], 1, -1)
    assert np.abs(images - decoded).max() < 0.51


def test_remap_by_counts(tmp_path: pathlib.Path) -> None:
    layouts.write(tmp_path / "a.safetensors", layouts.random_state(layouts.vqgan()))
    counts = tmp_path / "counts.json"
    counts.write_text(json.dumps({"counts": [0, 5, 3, 9] + 20 * [0]}))
    assert main(flags(tmp_path, remap=counts, remap_codes=2)) == 0
    task, _, extra = restored(tmp_path / "out")
    assert task.num_codes == 2
    assert extra["remap"]["back"].tolist() == [1, 3]
    assert set(np.unique(extra["remap"]["to"])) == {0, 1}


@pytest.mark.slow
def test_lpips_as_a_part(tmp_path: pathlib.Path) -> None:
    """What `init_parts` takes of the work directory."""
    state = layouts.random_state(layouts.lpips())
    layouts.write(tmp_path / "a.safetensors", state)
    assert main(flags(tmp_path, "lpips")) == 0
    image = jax.ShapeDtypeStruct((1, 16, 16, 3), np.float32)
    tree = jax.eval_shape(Perceptual().init, jax.random.key(0), image, image)["params"]
    _, params, _ = load_parts(tmp_path / "out", {"perceptual": tree}, {})
    kernel = params["perceptual"]["vgg"]["conv_4_2"]["kernel"]
    np.testing.assert_array_equal(
        kernel[1, 2].T, state["features.28.weight"][..., 1, 2]
    )


def refused(tmp_path: pathlib.Path, capsys, code: int, *argv: str) -> str:
    """The one error of a conversion that writes nothing."""
    before = sorted(tmp_path.rglob("*"))
    assert main(list(argv)) == code
    assert sorted(tmp_path.rglob("*")) == before
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and err.startswith("error: ")
    return err


def test_bad_files_write_nothing(tmp_path: pathlib.Path, capsys) -> None:
    path = tmp_path / "a.safetensors"
    argv = flags(tmp_path)
    assert "no readable file" in refused(tmp_path, capsys, 1, *argv)
    state = layouts.random_state(layouts.vqgan())
    layouts.write(path, {**state, "quant_conv.bias": np.zeros(3, np.float32)})
    assert "of another shape" in refused(tmp_path, capsys, 1, *argv)
    layouts.write(path, {k: v for k, v in state.items() if "mid" not in k})
    assert "missing" in refused(tmp_path, capsys, 1, *argv)
    layouts.write(path, layouts.random_state(layouts.vqgan(kind="ema")))
    assert "Check --family" in refused(tmp_path, capsys, 1, *argv)
    whole = layouts.write(path, state).read_bytes()
    path.write_bytes(whole[:-1])
    assert "broken" in refused(tmp_path, capsys, 1, *argv)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    path.write_bytes(flipped)
    assert "sha256" in refused(tmp_path, capsys, 1, *argv, "--sha256=0123abcd")
    path.write_bytes(whole)
    table = tmp_path / "table.json"
    table.write_text("[1, 2]")
    refused(tmp_path, capsys, 1, *argv, f"--remap={table}")


def test_existing_output_is_kept(tmp_path: pathlib.Path, capsys) -> None:
    layouts.write(tmp_path / "a.safetensors", layouts.random_state(layouts.vqgan()))
    (tmp_path / "out" / "checkpoints").mkdir(parents=True)
    err = refused(tmp_path, capsys, 1, *flags(tmp_path))
    assert "already there" in err
    for output in ("a.safetensors", "a.safetensors/out"):
        err = refused(tmp_path, capsys, 1, *flags(tmp_path, output=tmp_path / output))
        assert f"Found the file {tmp_path}/a.safetensors; expected" in err


@pytest.mark.parametrize(
    "more, message",
    [
        (dict(family="lpips", resolution=16), "--resolution=16 with --family=lpips"),
        (dict(resolution=17), "--resolution=17"),
        (dict(remap_codes=3), "--remap_codes=3"),
        (dict(linear="x"), "--linear=x"),
        (dict(sha256="zz"), "8 to 64 hexadecimal digits"),
        (dict(output=""), "empty --output"),
    ],
)
def test_bad_usage(tmp_path: pathlib.Path, capsys, more: dict, message: str) -> None:
    layouts.write(tmp_path / "a.safetensors", layouts.random_state(layouts.vqgan()))
    assert message in refused(tmp_path, capsys, 2, *flags(tmp_path, **more))


@pytest.mark.parametrize("argv", [[], ["--family=other", "--input=a", "--output=b"]])
def test_unknown_flags(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
