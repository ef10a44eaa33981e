"""Motion files of AIST++: poses of the SMPL body, pickled, as rows of numbers."""

from pathlib import Path

import numpy as np

from cdcd_jax.data import pickles
from cdcd_jax.data.segments import Segment
from cdcd_jax.data.sources import Unreadable


def load_motion(segment: Segment, frames: int) -> np.ndarray:
    """Motion of `frames` frames from a segment's first, float32 [frames, 219].

    Root translation over scaling [3], then the 24 rotation matrices row by row [216].

    Raises:
        Unreadable: its file holds no such motion.
    """
    content = read_motion(segment.motion)
    part = slice(segment.first, segment.first + frames)
    place = content["smpl_trans"][part] / content["smpl_scaling"]
    turns = rotation_matrices(content["smpl_poses"][part].reshape(-1, 24, 3))
    return np.concatenate([place, turns.reshape(len(place), 216)], axis=1)


def read_motion(path: Path) -> dict[str, np.ndarray]:
    """smpl_poses [N, 72], smpl_trans [N, 3] and smpl_scaling [1] of a motion file.

    Raises:
        Unreadable: it holds no such motion.
    """
    try:
        content = pickles.loads(path.read_bytes(), str(path))
        # what generators of dances write is in units of the body already
        content = {"smpl_scaling": np.ones(1), **content}
        found = {
            name: np.asarray(content[name], np.float64)
            for name in ("smpl_poses", "smpl_trans", "smpl_scaling")
        }
        count = len(found["smpl_trans"])
        found["smpl_poses"] = found["smpl_poses"].reshape(count, 72)
        found["smpl_trans"] = found["smpl_trans"].reshape(count, 3)
        found["smpl_scaling"] = found["smpl_scaling"].reshape(1)
    except FileNotFoundError as error:
        raise Unreadable(str(path), "no such file") from error
    except (OSError, KeyError, TypeError, ValueError, IndexError) as error:
        raise Unreadable(str(path), f"not SMPL motion of AIST++ ({error!r})") from error
    if not found["smpl_scaling"][0] > 0:
        raise Unreadable(str(path), f"scaling {found['smpl_scaling'][0]}")
    return found


def rotation_matrices(vectors: np.ndarray) -> np.ndarray:
    """Rotation matrices of rotation vectors (Rodrigues), [..., 3] -> [..., 3, 3]."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1)
    cross = cross.reshape(*vectors.shape, 3)
    # sin(a)/a and (1 - cos(a))/a^2, also at 0
    first = np.sinc(angle / np.pi)
    second = np.sinc(angle / (2 * np.pi)) ** 2 / 2
    return np.eye(3) + first * cross + second * (cross @ cross)
