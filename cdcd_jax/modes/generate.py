"""--mode=generate: samples of a model under what the flags ask, as files."""

from collections import Counter

from cdcd_jax import api
from cdcd_jax.generation.classes import Flag
from cdcd_jax.modes.flags import Options
from cdcd_jax.runtime import hosts

MOST_WORDS = 10  # of drawn labels and texts that are said


def generate(options: Options) -> None:
    """Draws into `<workdir>/samples/<name>` and says what it took.

    Raises:
        InputError: see `api.Model.sample`.
    """
    model = api.open(options.workdir, options.config, options.given)
    directory = model.workdir / "samples" / options.name
    conditions = {name: Flag(text) for name, text in options.conditions.items()}
    asked = dict(name=options.name, condition=conditions, directory=directory)
    if options.edit:
        edit, start = dict(options.edit), "toward."
        ends = [key for key in edit if key.startswith(start)]
        toward = {key.removeprefix(start): Flag(edit.pop(key)) for key in ends}
        samples = model.edit(**edit, toward=toward, **asked)
    else:
        samples = model.sample(**asked)
    for name, words in samples.words.items():
        counts = Counter(words).most_common(MOST_WORDS)
        hosts.say(f"{name}: " + ", ".join(f"{w} ({n})" for w, n in counts))
    hosts.say(
        f"{len(samples)} samples of step {samples.step} in {samples.seconds:.1f} s, "
        f"{samples.cost}: {directory}"
    )
