"""A canvas of tokens for samples: what stands, what is drawn, and how they are joined.

A token is drawn anew if any of its pixels or samples is; the others stand, and what is
decoded from them is replaced by the input itself.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from cdcd_jax.errors import UsageError
from cdcd_jax.generation import edit_files, windows
from cdcd_jax.generation.edit_files import Source
from cdcd_jax.models.decoders import Decoders
from cdcd_jax.tasks.drawing import Edit

_SEAM = 0.005  # seconds in which drawn sound fades from and to what was kept


class Wish(NamedTuple):
    """The flags, each by itself as it should be."""

    input: Any = ""  # a file's name, or `edit_files.Given`
    mask: Any = ""  # words, or `edit_files.Region`
    strength: float | None = None  # in (0, 1]
    expand: tuple[int, ...] | None = None  # left, top, right, bottom, pixels
    seconds: float | None = None
    toward: Mapping[str, Any] = {}  # modality -> text, or values as `prompts` has them


NO_WISH = Wish()


class Canvas(NamedTuple):
    """What is drawn on; R is the number of inputs, 1 without, or of samples."""

    plan: windows.Plan
    tokens: np.ndarray  # int32 [R, H, W], of the input where there is one
    known: np.ndarray  # bool [H, W], where they stand
    # the input, laid on the canvas: uint8 [R, height, width, C] or float32 [R, S]
    media: np.ndarray | None = None
    samples: int | None = None  # S, of sound
    token: float = 0.0  # seconds of one, of sound
    time: int = 0  # to which the tokens are noised; 0: drawing begins with noise
    toward: tuple[Mapping[str, np.ndarray], np.ndarray] | None = None  # see `Edit`

    def of_rows(self, rows: np.ndarray) -> "Canvas":
        """The canvas of samples whose inputs are these."""
        media = None if self.media is None else self.media[rows]
        return self._replace(tokens=self.tokens[rows], media=media)

    @property
    def record(self) -> dict[str, np.ndarray]:
        """What samples.npz says of it, rows [N, ...]."""
        told, shape = {}, (len(self.tokens), -1)
        if self.media is not None:
            told["edit/input"] = self.tokens.reshape(shape)
            known = np.broadcast_to(self.known, self.tokens.shape)
            told["edit/known"] = known.reshape(shape)
        if self.toward is not None:
            told["edit/weight"] = self.toward[1]
        return told


def lay_out(
    config: Mapping[str, Any],
    tokenizer: Any,
    conditions: Mapping[str, Mapping[str, Any]],
    condition: Mapping[str, np.ndarray],
    wish: Wish = NO_WISH,
    source: Source | None = None,
    time: int = 0,
) -> Canvas:
    """The canvas that is asked for; with motion, as long as that.

    Args:
        config: a whole experiment.
        tokenizer: of the model.
        conditions: what the model takes.
        condition: modality -> [N, ...].
        wish: the flags.
        source: the input, if any.
        time: to which it is noised, or 0.

    Raises:
        UsageError: sizes that do not fit, or nothing that is to be drawn.
    """
    grid, overlap = tuple(config["model"]["grid"]), config["sampling"]["overlap"]
    motion, seconds = None, windows.duration(condition, conditions)
    if seconds is not None:
        motion = seconds, windows.token_seconds(tokenizer, conditions, grid[1])
    seen = [k for k, spec in conditions.items() if spec["kind"] == "image"]
    if wish.expand and (given := [name for name in seen if name in condition]):
        raise UsageError(
            f"Found --edit.expand under the picture --condition.{given[0]}, which "
            "shows the model's own window and nothing beyond it; expected one of both; "
            "leave either out"
        )
    if motion or "audio" in tokenizer.outputs:
        canvas = _sound(wish, source, tokenizer, grid, overlap, motion)
    else:
        canvas = _picture(wish, source, tokenizer, grid, overlap)
    return canvas._replace(time=time)


def _picture(
    wish: Wish, source: Source | None, tokenizer: Any, grid: Any, overlap: float
) -> Canvas:
    height, width, channels = tokenizer.outputs.get("images", (*grid, 1))
    down, across = height // grid[0], width // grid[1]
    left, top, right, bottom = wish.expand or (0, 0, 0, 0)
    if left % across or right % across or top % down or bottom % down:
        raise UsageError(
            f"Found --edit.expand={left},{top},{right},{bottom}; expected multiples "
            f"of {across} to the left and right and of {down} to the top and bottom, "
            "the pixels of a token; correct it"
        )
    size = grid[0] + (top + bottom) // down, grid[1] + (left + right) // across
    origin = top // down, left // across
    cut = windows.plan(size, grid, overlap, origin)
    if source is None:
        return Canvas(cut, np.zeros((1, *size), np.int32), np.zeros(size, bool))
    inside = np.full((height, width), wish.strength is not None)
    if wish.mask:
        inside = edit_files.region(wish.mask, (height, width))
    anew = np.ones((size[0] * down, size[1] * across), bool)
    anew[top : top + height, left : left + width] = inside
    _check_anew(anew)
    known = ~anew.reshape(size[0], down, size[1], across).any((1, 3))
    tokens = np.zeros((len(source.tokens), *size), np.int32)
    place = np.s_[origin[0] : origin[0] + grid[0], origin[1] : origin[1] + grid[1]]
    tokens[:, *place] = source.tokens
    media = np.zeros((len(tokens), *anew.shape, channels), np.uint8)
    media[:, top : top + height, left : left + width] = source.media
    return Canvas(cut, tokens, known, media)


def _sound(
    wish: Wish,
    source: Source | None,
    tokenizer: Any,
    grid: Any,
    overlap: float,
    motion: tuple[float, float] | None,
) -> Canvas:
    length, rate = grid[1], tokenizer.sample_rate or 1
    hop = tokenizer.outputs["audio"][0] // length if tokenizer.outputs else 1
    token = motion[1] if motion else hop / rate
    has = 0 if source is None else source.media.shape[1]
    seconds = motion[0] if motion else wish.seconds or has / rate or length * token
    samples = round(seconds * rate)
    if has > samples or (wish.strength is not None and has < samples):
        longer = "at least" if wish.strength is None else "as long as"
        raise UsageError(
            f"Found --edit.input of {has / rate:.4g} s for {seconds:.4g} s of sound; "
            f"expected these to be {longer} the input; cut the input, or ask for sound "
            "of its length"
        )
    total = windows.tokens_of(max(seconds, has / rate), length, token)
    cut = windows.plan((1, total), grid, overlap)
    tokens, known = np.zeros((1, 1, total), np.int32), np.zeros((1, total), bool)
    if source is None:
        canvas = Canvas(cut, tokens, known)
        return canvas._replace(samples=samples, token=token)
    anew = np.ones(max(total * hop, samples), bool)
    anew[:has] = wish.strength is not None
    if wish.mask:
        anew[:has] = edit_files.span(wish.mask, has, rate)
    _check_anew(anew[:samples])
    end = -(-samples // hop) * hop
    anew[samples:end] = False  # the last token's rest is never heard
    known = ~anew[: total * hop].reshape(1, total, hop).any(2)
    number, count = len(source.tokens), min(total, source.tokens.shape[2])
    tokens = np.zeros((number, 1, total), np.int32)
    tokens[..., :count] = source.tokens[..., :count]
    media = windows.fit(source.media, samples)
    return Canvas(cut, tokens, known, media, samples, token)


def _check_anew(anew: np.ndarray) -> None:
    if not anew.any():
        raise UsageError(
            "Found that all of --edit.input would be kept; expected a part to draw "
            "anew; make some of --edit.mask white, or ask for more than the input"
        )


def draw_samples(
    config: Mapping[str, Any],
    task: Any,
    decoders: Decoders,
    parts: tuple[Any, Any],
    condition: Mapping[str, np.ndarray],
    key: jax.Array,
    number: int,
    canvas: Canvas | None = None,
) -> tuple[dict[str, np.ndarray], int]:
    """Draws and decodes; what is larger than the model's window, in windows.

    Args:
        decoders: of what the task draws.
        parts: parameters and extra.
        condition: modality -> [N, ...]; {} of an unconditional model.
        number: N.
        canvas: of N rows; without one, as large as the model's window, or, with motion,
            as long as that.

    Returns:
        what the task draws (tokens int32 [N, L or more]) and what that is decoded to;
        number of windows.

    Raises:
        UsageError: conditions that differ in length.
    """
    conditions = task.describe()["conditions"]
    options = task.options(config["sampling"])
    if canvas is None and not windows.timed(conditions, condition):
        outputs = task.sample(*parts, condition, key, options, number)
        return decoders.decode(outputs), 1
    tokenizer = decoders.tokenizer
    if canvas is None:
        canvas = lay_out(config, tokenizer, conditions, condition)
        canvas = canvas.of_rows(np.zeros(number, int))

    beside: dict[str, np.ndarray] = {}

    def sample(
        window: int, corner: tuple[int, int], tokens: np.ndarray, known: np.ndarray
    ) -> np.ndarray:
        seen = lambda rows: windows.seen(rows, conditions, corner[1] * canvas.token)
        edit = Edit(
            known=(tokens, known) if known.any() else None,
            start=tokens if canvas.time else None,
            time=canvas.time,
            toward=canvas.toward and (seen(canvas.toward[0]), canvas.toward[1]),
            shared=canvas.toward is not None,
        )
        own = jax.random.fold_in(key, window) if window else key
        drawn = dict(task.sample(*parts, seen(condition), own, options, number, edit))
        tokens = drawn.pop("tokens")
        beside.update(drawn)
        return tokens

    known = np.broadcast_to(canvas.known, canvas.tokens.shape)
    drawn, cuts = windows.draw(sample, canvas.plan, canvas.tokens, known)
    tokens, size = drawn.reshape(number, -1), canvas.plan.canvas
    larger = () if size in (canvas.plan.window, (1, tokens.shape[1])) else (size,)
    outputs = kept(tokenizer.decode(tokens, *larger), canvas, tokenizer.sample_rate)
    if cuts == 1:  # else each window has drawn its own
        outputs |= decoders.decode(beside) if beside else {}
    return {"tokens": tokens, **outputs, **canvas.record}, cuts


def kept(
    outputs: Mapping[str, np.ndarray], canvas: Canvas, rate: int | None
) -> dict[str, np.ndarray]:
    """What was decoded, with the input itself where its tokens stand.

    Sound gets its length.

    Args:
        outputs: images uint8 [N, H, W, C] or audio float32 [N, S], or neither.
        canvas: of N rows.
        rate: of sound, Hz.
    """
    outputs, (rows, columns) = dict(outputs), canvas.plan.canvas
    if "audio" in outputs:
        hop = outputs["audio"].shape[1] // columns
        audio = windows.fit(outputs["audio"], canvas.samples)
        if canvas.media is not None:
            stands = windows.fit(canvas.known.repeat(hop, 1), canvas.samples)[0]
            audio = _joined(audio, canvas.media, stands, round(_SEAM * rate))
        outputs["audio"] = audio
    elif "images" in outputs and canvas.media is not None:
        height, width = outputs["images"].shape[1:3]
        stands = canvas.known.repeat(height // rows, 0).repeat(width // columns, 1)
        images = np.where(stands[..., None], canvas.media, outputs["images"])
        outputs["images"] = images
    return outputs


def _joined(
    drawn: np.ndarray, given: np.ndarray, stands: np.ndarray, fade: int
) -> np.ndarray:
    """Sound [N, S] that is `given` where it stands, and elsewhere drawn.

    A jump from one to the other would be heard as a click: beside it, drawn sound is
    raised or lowered by it, which fades out within `fade` samples.
    """
    joined, jump = np.where(stands, given, drawn), given - drawn
    for left in np.flatnonzero(np.diff(stands)):
        edge = left if stands[left] else left + 1  # the sample that stands
        far = np.abs(np.arange(len(stands)) - edge)
        weight = np.where(stands, 0.0, np.maximum(0.0, 1.0 - far / (fade + 1)))
        joined += (jump[:, edge : edge + 1] * weight).astype(np.float32)
    return np.clip(joined, -1.0, 1.0)
