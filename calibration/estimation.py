"""What a set of views says about the camera's place, and how well: weights, leave-one-out, bootstrap intervals.

Each view has two kinds of error. Corners are some tenths of a pixel off, each for itself; the measured hand pose is
off by its joints' errors, which displace all corners of the view together. Taking the second for the first would make
the intervals far too narrow. So the view is the unit: its corners are condensed into the one displacement of the hand
``d`` that would explain them, ``d = G theta + e`` to first order in the twelve unknowns theta, and ``e`` has the
covariance of the corners plus ``diag(s_t^2 I, s_r^2 I)``, whose two sizes are estimated by restricted maximum
likelihood (Patterson and Thompson, 1971).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from clar_calibration.board import Board
from clar_calibration.detection import Detection
from clar_calibration.problem import UNKNOWNS, HandEye, Problem
from clar_calibration.samples import SetUp
from clar_core.geometry.camera import Intrinsics, project
from clar_core.geometry.poses import inverse, transform_points

Array = NDArray[np.float64]

_CORNER_FLOOR_PX = 0.02
_HAND_FLOOR = (1e-5, 1e-5)
_HAND_CEILING = (0.05, 0.1)


@dataclass(frozen=True)
class Noise:
    """Sizes of the errors, one standard deviation: of a corner, and of the hand pose in each axis."""

    corner_px: float
    hand_m: float
    hand_rad: float

    @property
    def hand_covariance(self) -> Array:
        """(6, 6), translation first."""
        return np.diag([self.hand_m**2] * 3 + [self.hand_rad**2] * 3)


@dataclass(frozen=True, eq=False)
class Condensed:
    """k views, each as one displacement of the hand.

    Attributes:
        d: (k, 6) displacement (m, rad) of the hand that would explain the view.
        G: (k, 6, 12) its derivative by the unknowns.
        scale: (k, 6) its derivative by the size of the board.
        corners: (k, 6, 6) covariance of d from the corners, for corners of one pixel.
        corner_px: root mean square of what no displacement of the hand explains, in pixels, of each view.
    """

    d: Array
    G: Array
    scale: Array
    corners: Array
    corner_px: Array


@dataclass(frozen=True, eq=False)
class Estimate:
    """The linear estimate from condensed views.

    Attributes:
        theta: (12,) change of the solution.
        covariance: (12, 12) of it.
        influence: (k, 12) what leaving each view out changes: theta_without_i - theta.
        held_out: (k, 6) displacement of each view's board-bearing hand that the others do not predict.
        distance: (k,) squared Mahalanobis distance of that, which for a sound view is chi-squared with 6 degrees.
    """

    theta: Array
    covariance: Array
    influence: Array
    held_out: Array
    distance: Array


def condense(problem: Problem, solution: HandEye) -> Condensed:
    """Condense the corners of each view at a solution."""
    at = problem.linearize(solution)
    count = len(problem)
    d, G = np.zeros((count, 6)), np.zeros((count, 6, UNKNOWNS))
    scale, covariance, rms = np.zeros((count, 6)), np.zeros((count, 6, 6)), np.zeros(count)
    for i in range(count):
        rows = problem.pose == i
        J = at.hand[rows].reshape(-1, 6)
        residuals = at.residuals[rows].reshape(-1)
        covariance[i] = np.linalg.inv(J.T @ J)
        project = covariance[i] @ J.T
        d[i] = -project @ residuals
        # theta explains a part of d with the opposite sign of its own effect on the corners
        G[i] = project @ at.unknowns[rows].reshape(-1, UNKNOWNS)
        scale[i] = project @ at.scale[rows].reshape(-1)
        rest = residuals + J @ d[i]
        rms[i] = np.sqrt(rest @ rest / max(len(rest) - 6, 1))
    return Condensed(d, G, scale, covariance, rms)


def estimate_noise(views: Condensed) -> Noise:
    """Sizes of corner noise (median over views) and of hand noise (restricted maximum likelihood)."""
    corner_px = max(float(np.median(views.corner_px)), _CORNER_FLOOR_PX)
    corners = corner_px**2 * views.corners

    def deviance(log_sizes: Array) -> float:
        hand_m, hand_rad = np.exp(np.clip(log_sizes, np.log(_HAND_FLOOR), np.log(_HAND_CEILING)))
        V = corners + np.diag([hand_m**2] * 3 + [hand_rad**2] * 3)
        W = np.linalg.inv(V)
        GW = np.swapaxes(views.G, 1, 2) @ W
        information = (GW @ views.G).sum(axis=0)
        rest = views.d - views.G @ np.linalg.solve(information, np.einsum("kij,kj->i", GW, views.d))
        penalty = float(np.sum((log_sizes - np.clip(log_sizes, np.log(_HAND_FLOOR), np.log(_HAND_CEILING))) ** 2))
        fit = np.einsum("ki,kij,kj->", rest, W, rest)
        return float(np.linalg.slogdet(V)[1].sum() + np.linalg.slogdet(information)[1] + fit + 10 * penalty)

    start = np.log((4e-4, 4e-4))
    found = minimize(deviance, start, method="Nelder-Mead", options={"xatol": 0.02, "fatol": 0.01, "maxiter": 200})
    hand_m, hand_rad = np.exp(np.clip(found.x, np.log(_HAND_FLOOR), np.log(_HAND_CEILING)))
    return Noise(corner_px, float(hand_m), float(hand_rad))


def weights(views: Condensed, noise: Noise) -> Array:
    """(k, 6, 6) inverse covariance of each view's displacement."""
    return np.asarray(np.linalg.inv(noise.corner_px**2 * views.corners + noise.hand_covariance))


def estimate(views: Condensed, noise: Noise) -> Estimate:
    """Generalised least squares over the views, with what each view alone contributes."""
    W = weights(views, noise)
    GW = np.swapaxes(views.G, 1, 2) @ W
    each = GW @ views.G
    total, right = each.sum(axis=0), np.einsum("kij,kj->ki", GW, views.d)
    covariance = np.linalg.inv(total)
    theta = covariance @ right.sum(axis=0)
    count = len(views.d)
    influence, held_out, distance = np.zeros((count, UNKNOWNS)), np.zeros((count, 6)), np.zeros(count)
    for i in range(count):
        without = np.linalg.inv(total - each[i] + 1e-9 * np.diag(np.diag(total)))
        other = without @ (right.sum(axis=0) - right[i])
        influence[i] = other - theta
        held_out[i] = views.d[i] - views.G[i] @ other
        spread = np.linalg.inv(W[i]) + views.G[i] @ without @ views.G[i].T
        distance[i] = held_out[i] @ np.linalg.solve(spread, held_out[i])
    return Estimate(theta, covariance, influence, held_out, distance)


def estimate_scale(views: Condensed, noise: Noise) -> tuple[float, float]:
    """True over assumed size of the board, and its standard deviation: the hand's motion is a ruler of its own."""
    W = weights(views, noise)
    G = np.concatenate([views.G, views.scale[:, :, None]], axis=2)
    GW = np.swapaxes(G, 1, 2) @ W
    covariance = np.linalg.inv((GW @ G).sum(axis=0) + 1e-9 * np.eye(UNKNOWNS + 1))
    theta = covariance @ np.einsum("kij,kj->i", GW, views.d)
    return 1.0 + float(theta[-1]), float(np.sqrt(covariance[-1, -1]))


def bootstrap(result: Estimate, *, draws: int = 2000, seed: int = 0) -> Array:
    """(draws, 12) plausible errors of the unknowns: a wild bootstrap over views with leave-one-out residuals.

    Each view's influence enters with a random sign and size (standard normal), so that no assumption on the errors is
    made but that views err independently. Leave-one-out residuals undo what a fit hides of its own errors (the
    jackknife variance, CR3 in MacKinnon and Webb's terms, which with few views errs on the wide side).
    """
    count = len(result.influence)
    random = np.random.default_rng(seed)
    draw = random.standard_normal((draws, count)) * np.sqrt((count - 1) / count)
    return np.asarray(draw @ result.influence)


def displacement(error: Array, T_parent_camera: Array, point: Array) -> Array:
    """How far errors (n, >= 6) of the camera's pose displace a point (3,) of the parent frame that it sees: (n,) m."""
    moved = np.cross(error[:, 3:6], point - T_parent_camera[:3, 3]) + error[:, :3]
    return np.asarray(np.linalg.norm(moved, axis=1))


def view_information(
    set_up: SetUp, solution: HandEye, board: Board, intrinsics: Intrinsics, T_base_tcp: Array, noise: Noise
) -> Array | None:
    """(12, 12) what one view of the whole board would tell about the unknowns; None when it is out of the picture."""
    A = T_base_tcp if set_up == "eye_to_hand" else inverse(T_base_tcp)
    pixels = project(transform_points(inverse(solution.X) @ A @ solution.Y, board.points), intrinsics)
    if not np.isfinite(pixels).all() or (pixels < 0).any() or (pixels > (intrinsics.width, intrinsics.height)).any():
        return None
    view = Detection(np.arange(len(pixels)), pixels, 1.0, 1.0)
    views = condense(Problem(set_up, T_base_tcp[None], [view], board, intrinsics), solution)
    G, W = views.G[0], weights(views, noise)[0]
    return np.asarray(G.T @ W @ G)
