"""Joint positions of motion, seen from the front, to draw a dancer.

Two kinds of motion are known by their width:

    219   AIST++ and toy_dance: the root's place [3], then rotation matrices of SMPL's
          24 joints, row by row, each relative to its parent
    75    TikTok: 25 joints of OpenPose (BODY_25), each x, y (down) and confidence

SMPL's own body is not used: bones have round lengths of a person of about 1.7 m, which
are approximate and serve for pictures only.
"""

from typing import NamedTuple

import numpy as np

# Parent of each of SMPL's 24 joints; the root has none.
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14)
PARENTS += (16, 17, 18, 19, 20, 21)
# Where a joint lies from its parent at rest, arms to the sides, in metres: x to the
# dancer's left, y up, z forward. The left side; the right one mirrors it.
_LEFT = {
    1: (0.09, -0.07, 0.0),  # hip
    4: (0.02, -0.40, 0.0),  # knee
    7: (0.0, -0.41, 0.0),  # ankle
    10: (0.02, -0.06, 0.13),  # toes
    13: (0.08, 0.12, 0.0),  # collar
    16: (0.10, 0.03, 0.0),  # shoulder
    18: (0.27, 0.0, 0.0),  # elbow
    20: (0.25, 0.0, 0.0),  # wrist
    22: (0.09, 0.0, 0.0),  # hand
}
_MIDDLE = {
    3: (0.0, 0.11, 0.0),  # three of the spine
    6: (0.0, 0.13, 0.0),
    9: (0.0, 0.06, 0.0),
    12: (0.0, 0.21, 0.0),  # neck
    15: (0.0, 0.12, 0.03),  # head
}
# The right joint comes after the left one.
_RIGHT = {joint + 1: (-x, y, z) for joint, (x, y, z) in _LEFT.items()}
_REST = {0: (0.0, 0.0, 0.0), **_LEFT, **_RIGHT, **_MIDDLE}
OFFSETS = np.array([_REST[joint] for joint in range(len(PARENTS))])
SMPL_LIMBS = tuple((parent, i) for i, parent in enumerate(PARENTS) if parent >= 0)
# Nose, neck, arms, middle of the hips, legs, eyes and ears, feet.
BODY_25_LIMBS = (
    *((0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7)),
    *((1, 8), (8, 9), (9, 10), (10, 11), (8, 12), (12, 13), (13, 14)),
    *((0, 15), (0, 16), (15, 17), (16, 18)),
    *((14, 19), (19, 20), (14, 21), (11, 22), (22, 23), (11, 24)),
)


class Skeleton(NamedTuple):
    """A moving figure from the front."""

    points: np.ndarray  # [F, J, 2], x to the right and y up
    known: np.ndarray  # bool [F, J], which joints were seen
    limbs: tuple[tuple[int, int], ...]  # pairs of joints


def skeleton_of(motion: np.ndarray) -> Skeleton | None:
    """The figure of motion [F, 219] or [F, 75]; None of any other width."""
    frames, width = motion.shape
    if width == 219:
        points = smpl_joints(motion)[..., :2]
        return Skeleton(points, np.ones(points.shape[:2], bool), SMPL_LIMBS)
    if width == 75:
        joints = np.asarray(motion, np.float64).reshape(frames, 25, 3)
        points = joints[..., :2] * (1, -1)
        return Skeleton(points, joints[..., 2] > 0, BODY_25_LIMBS)
    return None


def smpl_joints(motion: np.ndarray) -> np.ndarray:
    """Forward kinematics: motion [F, 219] -> places of 24 joints [F, 24, 3], metres."""
    motion = np.asarray(motion, np.float64)
    place = motion[:, :3]
    turn = motion[:, 3:].reshape(-1, len(PARENTS), 3, 3)
    places, turns = [place], [turn[:, 0]]  # in the room
    for joint, parent in enumerate(PARENTS[1:], 1):
        places.append(places[parent] + turns[parent] @ OFFSETS[joint])
        turns.append(turns[parent] @ turn[:, joint])
    return np.stack(places, axis=1)
