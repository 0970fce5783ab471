"""Has the camera moved since the calibration? The static scene now against the scene then.

The camera's displacement is estimated by aligning both looks: measured depth against the reference's surfaces along
their normals, and grey values against the reference's where it has edges (direct RGB-D alignment: Kerl, Sturm, Cremers
2013). Surfaces tell height and tilt, edges the rest. The arm is masked by its model; what else was moved, objects above
all, disagrees with the rest and loses its weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from clar_calibration.reference import Scene
from clar_core.geometry.camera import pixel_rays, project
from clar_core.geometry.poses import inverse, make_pose, rotation_vector_to_matrix, transform_points

Array = NDArray[np.float64]

DISTANCE_LIMIT_MM = 1.8
ANGLE_LIMIT_DEG = 0.18
"""A displacement of 3 mm or 0.3 degrees must be seen, and one of nothing must not."""

_DEPTH_STRIDE = 3
_ROUNDS = (8, 12)
_BLURS_PX = (4.0, 1.6)
_DEPTH_NOISE_M = 0.002
_GREY_NOISE = 5.0
_GROSS_M = (0.05, 0.02)
_JUMP_M = 0.03
_GRADIENT_LEAST = 1.2
_EDGE_POINTS = 6000
_PRIOR_M, _PRIOR_RAD = 0.02, np.radians(2.0)
_FEWEST_SURFACE, _FEWEST_EDGES = 500, 150
_AGREEING_LEAST = 0.35
_CHANGED, _CROWD = 4.0, 4
_UNSURE_MM = 1.0


class SceneError(ValueError):
    """The two looks cannot be compared; the text says why and what to do."""


@dataclass(frozen=True, eq=False)
class SceneCheck:
    """The answer.

    Attributes:
        moved: whether the camera moved.
        shift_mm: (3,) displacement of the camera, in its frame at calibration.
        turn_deg: (3,) rotation vector of it.
        distance_mm, angle_deg: sizes of both.
        agreeing: part of the scene that fits this displacement; the rest was moved, or hidden.
        doubt: what limits the answer; empty when nothing does.
        T_reference_now: (4, 4) maps points of the camera now to the camera at calibration.
    """

    moved: bool
    shift_mm: Array
    turn_deg: Array
    distance_mm: float
    angle_deg: float
    agreeing: float
    doubt: str
    T_reference_now: Array

    def __str__(self) -> str:
        answer = "the camera has moved" if self.moved else "the camera has not moved"
        x, y, z = self.shift_mm
        text = (
            f"{answer}: {self.distance_mm:.1f} mm ({x:+.1f}, {y:+.1f}, {z:+.1f} in its own frame) and"
            f" {self.angle_deg:.2f} degrees from where it was calibrated; {self.agreeing:.0%} of the scene agree"
        )
        return text + (f"; {self.doubt}" if self.doubt else "")


def check_scene(
    reference: Scene,
    now: Scene,
    *,
    distance_limit_mm: float = DISTANCE_LIMIT_MM,
    angle_limit_deg: float = ANGLE_LIMIT_DEG,
) -> SceneCheck:
    """Compare a look with the reference.

    Raises:
        SceneError: the looks are of different cameras or resolutions, or too little of the scene can be compared.
    """
    if (reference.depth, reference.color) != (now.depth, now.color):
        raise SceneError(
            "the camera's intrinsics are others than at calibration: another camera, resolution or profile; use that of"
            " the calibration, or calibrate again"
        )
    T = np.eye(4)
    agreeing, information = 0.0, np.eye(6)
    for rounds, blur, gross in zip(_ROUNDS, _BLURS_PX, _GROSS_M, strict=True):
        alignment = _Alignment(reference, now, blur, gross)
        for _ in range(rounds):
            T, agreeing, information = alignment.improve(T)
    alignment.forget_changed(T)
    for _ in range(_ROUNDS[-1]):
        T, _, information = alignment.improve(T)
    t, w = T[:3, 3], cv2.Rodrigues(T[:3, :3])[0].ravel()
    distance, angle = float(np.linalg.norm(t)) * 1e3, float(np.degrees(np.linalg.norm(w)))
    weakest = 1e3 / np.sqrt(float(np.linalg.eigvalsh(information)[0]))
    doubts = []
    if weakest > _UNSURE_MM:
        doubts.append("the static scene has too few surfaces or edges to be sure: leave some things standing in view")
    if agreeing < _AGREEING_LEAST:
        doubts.append("most of the scene looks different from then")
    moved = distance > distance_limit_mm or angle > angle_limit_deg or agreeing < _AGREEING_LEAST
    return SceneCheck(moved, t * 1e3, np.degrees(w), distance, angle, agreeing, "; ".join(doubts), T)


class _Alignment:
    """Both looks at one blur, prepared for comparing them under a displacement."""

    def __init__(self, reference: Scene, now: Scene, blur_px: float, gross_m: float) -> None:
        self._reference, self._gross_m = reference, gross_m
        self._surface, self._normals, self._smooth = _surface(reference)
        self._points = _points(now)
        self._T_color_depth = inverse(reference.T_depth_color)
        then, grey = (cv2.GaussianBlur(scene.grey, (0, 0), blur_px) for scene in (reference, now))
        self._now_grey = np.asarray(grey, dtype=np.float32)
        self._gradient = [
            np.asarray(cv2.Sobel(self._now_grey, cv2.CV_32F, dx, dy, ksize=3, scale=1 / 8), dtype=np.float32)
            for dx, dy in ((1, 0), (0, 1))
        ]
        self._hidden = cv2.GaussianBlur((~now.static).astype(np.float32), (0, 0), 3.0)
        self._edges, self._edge_pixels, self._edge_grey = self._edge_points(np.asarray(then, dtype=np.float32))
        if len(self._points) < _FEWEST_SURFACE or len(self._edges) < _FEWEST_EDGES:
            raise SceneError(
                f"too little of the static scene is in view: {len(self._points)} depth points and {len(self._edges)}"
                f" edge points (at least {_FEWEST_SURFACE} and {_FEWEST_EDGES}); is the camera covered, or dark?"
            )

    def improve(self, T: Array) -> tuple[Array, float, Array]:
        """One Gauss-Newton step: the better displacement, the part of the scene that agrees, and the information."""
        J_s, r_s, _ = self._surface_rows(T)
        J_e, r_e, _ = self._edge_rows(T)
        w_s, w_e = _tukey(r_s, _DEPTH_NOISE_M), _tukey(r_e, _GREY_NOISE)
        # neighbouring pixels share their errors: each kind counts as if it had a few hundred independent ones
        w_s *= min(1.0, 600.0 / max(float(w_s.sum()), 1.0)) / _DEPTH_NOISE_M**2
        w_e *= min(1.0, 600.0 / max(float(w_e.sum()), 1.0)) / _GREY_NOISE**2
        H = (J_s * w_s[:, None]).T @ J_s + (J_e * w_e[:, None]).T @ J_e
        g = (J_s * w_s[:, None]).T @ r_s + (J_e * w_e[:, None]).T @ r_e
        prior = np.diag([1 / _PRIOR_M**2] * 3 + [1 / _PRIOR_RAD**2] * 3)
        step = -np.linalg.solve(H + prior, g)
        better = make_pose(rotation_vector_to_matrix(step[3:])) @ T
        better[:3, 3] += step[:3]
        agreeing = float(np.mean(np.concatenate([w_s > 0, w_e > 0]))) if len(r_s) + len(r_e) else 0.0
        return better, agreeing, H

    def forget_changed(self, T: Array) -> None:
        """Leave out the surroundings of what was moved: at its rim, the new looks almost like what was there."""
        shape = self._hidden.shape
        _, r, which = self._surface_rows(T)
        off = np.ones(len(self._points), dtype=bool)
        off[which] = np.abs(r) > _CHANGED * max(1.4826 * float(np.median(np.abs(r))), 0.3 * _DEPTH_NOISE_M)
        places = project(self._points, self._reference.depth)
        self._points = self._points[~_around(places, off, shape)]
        _, r, which = self._edge_rows(T)
        off = np.zeros(len(self._edges), dtype=bool)
        off[which] = np.abs(r) > _CHANGED * max(1.4826 * float(np.median(np.abs(r))), 0.3 * _GREY_NOISE)
        kept = ~_around(self._edge_pixels, off, shape)
        if kept.sum() >= _FEWEST_EDGES:
            self._edges, self._edge_pixels = self._edges[kept], self._edge_pixels[kept]
            self._edge_grey = self._edge_grey[kept]

    def _surface_rows(self, T: Array) -> tuple[Array, Array, NDArray[np.int64]]:
        """Distances along the reference's normals of points measured now, their derivatives (n, 6), and which."""
        p = transform_points(T, self._points)
        pixels = project(p, self._reference.depth)
        u, v = np.rint(np.nan_to_num(pixels, nan=-1.0)).astype(int).T
        inside = (u >= 0) & (v >= 0) & (u < self._reference.depth.width) & (v < self._reference.depth.height)
        which = np.flatnonzero(inside)
        which = which[self._smooth[v[which], u[which]]]
        u, v, p = u[which], v[which], p[which]
        n = self._normals[v, u]
        r = np.einsum("ni,ni->n", n, p - self._surface[v, u])
        near = np.abs(r) < self._gross_m
        return np.concatenate([n, np.cross(p, n)], axis=1)[near], r[near], which[near]

    def _edge_rows(self, T: Array) -> tuple[Array, Array, NDArray[np.int64]]:
        """Grey values now minus then at the reference's edge points, their derivatives (n, 6), and which."""
        q = transform_points(self._T_color_depth @ inverse(T), self._edges)
        pixels = project(q, self._reference.color).astype(np.float32)
        size = (self._reference.color.width - 2, self._reference.color.height - 2)
        inside = np.isfinite(pixels).all(axis=1)
        inside &= (np.nan_to_num(pixels) > 1).all(axis=1) & (np.nan_to_num(pixels) < size).all(axis=1)
        hidden = _sampled(self._hidden, np.nan_to_num(pixels))
        inside &= hidden < 0.01
        q, pixels, then = q[inside], pixels[inside], self._edge_grey[inside]
        edges = self._edges[inside]
        now = _sampled(self._now_grey, pixels)
        if len(now) < _FEWEST_EDGES:
            raise SceneError(
                "too few edges of the static scene are in view: the camera has moved far, is covered, or it is dark"
            )
        gain, offset = _brightness(then, now)
        r = now - (gain * then + offset)
        gx, gy = (_sampled(image, pixels).astype(np.float64) for image in self._gradient)
        fx, fy = self._reference.color.fx, self._reference.color.fy
        z = q[:, 2]
        by_q = np.stack([gx * fx / z, gy * fy / z, -(gx * fx * q[:, 0] + gy * fy * q[:, 1]) / z**2], axis=1)
        # q = C T^-1 e, and T moves by exp(w), v on the left: e stays, so q moves by -C T^-1 (v + w x e)
        by_e = -(by_q @ self._T_color_depth[:3, :3]) @ inverse(T)[:3, :3]
        return np.concatenate([by_e, np.cross(edges, by_e)], axis=1), r, np.flatnonzero(inside)

    def _edge_points(self, grey: NDArray[np.float32]) -> tuple[Array, Array, Array]:
        """Points of the reference's surface at which its grey values change, their pixels, and these values."""
        reference = self._reference
        points = _points(reference, stride=1, keep_edges=True)
        pixels = project(transform_points(self._T_color_depth, points), reference.color).astype(np.float32)
        size = (reference.color.width - 3, reference.color.height - 3)
        good = np.isfinite(pixels).all(axis=1)
        good &= (np.nan_to_num(pixels) > 2).all(axis=1) & (np.nan_to_num(pixels) < size).all(axis=1)
        points, pixels = points[good], pixels[good]
        slope = np.hypot(
            cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8),
            cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8),
        )
        hidden = cv2.GaussianBlur((~reference.static).astype(np.float32), (0, 0), 3.0)
        chosen = (_sampled(slope, pixels) > _GRADIENT_LEAST) & (_sampled(hidden, pixels) < 0.01)
        points, pixels = points[chosen], pixels[chosen]
        every = max(1, len(points) // _EDGE_POINTS)
        points, pixels = points[::every], pixels[::every]
        return points, pixels.astype(np.float64), _sampled(grey, pixels).astype(np.float64)


def _surface(scene: Scene) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Points (h, w, 3), normals (h, w, 3) of a smoothed surface, and where these can be trusted."""
    valid = (scene.depth_m > 0) & scene.static
    weight = cv2.GaussianBlur(valid.astype(np.float32), (0, 0), 2.0)
    blurred = cv2.GaussianBlur(np.where(valid, scene.depth_m, 0).astype(np.float32), (0, 0), 2.0)
    depth = np.where(weight > 0.05, blurred / np.maximum(weight, 0.05), 0.0).astype(np.float64)
    surface = pixel_rays(scene.depth).astype(np.float64) * depth[:, :, None]
    across, down = np.zeros_like(surface), np.zeros_like(surface)
    step = 4
    across[:, step:-step] = surface[:, 2 * step :] - surface[:, : -2 * step]
    down[step:-step] = surface[2 * step :] - surface[: -2 * step]
    normals = np.cross(down, across)
    normals /= np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), 1e-12)
    kernel = np.ones((11, 11), np.uint8)
    high = cv2.dilate(np.where(valid, scene.depth_m, 0).astype(np.float32), kernel)
    low = cv2.erode(np.where(valid, scene.depth_m, 99).astype(np.float32), kernel)
    # across 11 pixels a plane seen at a slant changes its depth, too
    smooth = valid & (high - low < _JUMP_M + 0.04 * depth) & (weight > 0.9)
    smooth[:6], smooth[-6:], smooth[:, :6], smooth[:, -6:] = False, False, False, False
    return surface, normals, smooth


def _points(scene: Scene, *, stride: int = _DEPTH_STRIDE, keep_edges: bool = False) -> Array:
    """(n, 3) static points in the depth optical frame; without ``keep_edges`` away from jumps of the depth."""
    valid = (scene.depth_m > 0) & scene.static
    if not keep_edges:
        valid &= cv2.erode(valid.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    rays = pixel_rays(scene.depth)[::stride, ::stride][valid[::stride, ::stride]].astype(np.float64)
    return np.asarray(rays * scene.depth_m[::stride, ::stride][valid[::stride, ::stride]][:, None])


def _around(pixels: Array, flagged: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which of the pixels (n, 2) lie near a flagged one; a lone flagged one, which noise makes, does not count."""
    count = np.zeros(shape, dtype=np.float32)
    u, v = np.rint(np.nan_to_num(pixels)).astype(int).T
    inside = (u >= 0) & (v >= 0) & (u < shape[1]) & (v < shape[0])
    np.add.at(count, (v[inside & flagged], u[inside & flagged]), 1.0)
    crowded = cv2.boxFilter(count, -1, (13, 13), normalize=False) >= _CROWD
    near = cv2.dilate(crowded.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    result = flagged.copy()
    result[inside] |= near[v[inside], u[inside]]
    return result


def _sampled(image: NDArray[np.float32], pixels: Array | NDArray[np.float32]) -> NDArray[np.float32]:
    """Values between pixels, (n,)."""
    if len(pixels) == 0:
        return np.zeros(0, dtype=np.float32)
    columns = np.ascontiguousarray(pixels.astype(np.float32))
    # remap takes images of at most 32767 rows
    parts = [
        cv2.remap(image, part[:, 0:1], part[:, 1:2], cv2.INTER_LINEAR).ravel()
        for part in np.array_split(columns, len(columns) // 30000 + 1)
    ]
    return np.concatenate(parts)


def _brightness(then: Array, now: Array | NDArray[np.float32]) -> tuple[float, float]:
    """Gain and offset between two exposures, robust to a third of changed pixels."""
    gain, offset = 1.0, float(np.median(now - then))
    for _ in range(4):
        rest = np.abs(now - (gain * then + offset))
        kept = rest <= np.quantile(rest, 0.7) + 1e-6
        design = np.stack([then[kept], np.ones(int(kept.sum()))], axis=1)
        gain, offset = (float(v) for v in np.linalg.lstsq(design, now[kept], rcond=None)[0])
        gain = float(np.clip(gain, 0.5, 2.0))
    return gain, offset


def _tukey(residuals: Array, noise: float) -> Array:
    """Weights that vanish for what disagrees."""
    scale = max(1.4826 * float(np.median(np.abs(residuals))), 0.3 * noise) if len(residuals) else 1.0
    return np.asarray(np.clip(1.0 - (residuals / (4.0 * scale)) ** 2, 0.0, None) ** 2)
