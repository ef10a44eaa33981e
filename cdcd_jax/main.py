"""The command line: reads flags and config, picks the mode, runs the stages.

`--help` says what there is, in one screen.
"""

import contextlib
import os
import sys
from collections.abc import Sequence

from cdcd_jax.errors import InputError, Stopped, UsageError


def run(argv: Sequence[str]) -> None:
    """Does what a command line says."""
    if sys.getfilesystemencoding() != "utf-8":
        raise UsageError(
            f"Found names of files read as {sys.getfilesystemencoding()}, by the "
            "locale; expected UTF-8, as records keep names; set PYTHONUTF8=1, or a "
            "locale such as LC_ALL=C.UTF-8"
        )
    for stream in (sys.stdout, sys.stderr):  # a terminal may not show every letter
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    from cdcd_jax.modes.help import answer

    if (text := answer(argv[1:])) is not None:  # which needs none of what follows
        print(text)
        return
    # XLA's alarm of slow compiles is no error; "compiling" is told beforehand
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from cdcd_jax.modes import flags
    from cdcd_jax.modes.table import MODES
    from cdcd_jax.reporting.terminal import Lasting

    options = flags.parse(argv)
    asked_for = options.mode in ("inspect", "plan")  # what they print is the result
    out = sys.stdout if asked_for else Lasting(sys.stdout)
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(Lasting(sys.stderr)),
    ):
        MODES[options.mode](options)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code.

    0 done, or stopped by SIGTERM or SIGHUP and saved; 1 failed; 2 bad usage; 130
    interrupted by SIGINT (Ctrl-C), where training saves first.
    """
    try:
        run(sys.argv if argv is None else argv)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # whoever reads what is printed has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a disk that is full, a place that cannot be written
        from cdcd_jax.runtime.storage import told

        print(f"error: {told(error)}", file=sys.stderr)
        return InputError.exit_code
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return stopped.exit_code
    except KeyboardInterrupt:  # outside of training, or twice
        print("interrupted", file=sys.stderr)
        if argv is None:  # at its end, Python would wait for a compiler, and crash
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(130)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
