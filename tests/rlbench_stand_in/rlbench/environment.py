"""Stand-in, see README.md: a cube on RLBench's table; closing the gripper at it is the task."""

import numpy as np
from pyrep.backend import sim

from clar_core.data.rlbench_scene import T_BASE_WORLD
from clar_core.geometry.camera import Intrinsics
from clar_core.geometry.poses import inverse, make_pose, matrix_to_quaternion, rotation_vector_to_matrix
from rlbench.backend.exceptions import InvalidActionError
from rlbench.backend.observation import Observation
from rlbench.demo import Demo
from tests.core.observation.scene import T_BASE_CAMERA, WALL, render

NEAR, FAR = 0.01, 3.5
DOWN = np.diag([1.0, -1.0, -1.0])
T_WORLD_BASE = inverse(T_BASE_WORLD)
HOME = (0.5, 0.0, 0.4)


class Environment:
    def __init__(self, action_mode, obs_config, headless=False):
        self.obs_config = obs_config
        assert headless

    def launch(self):
        pass

    def shutdown(self):
        pass

    def get_task(self, task_class):
        return TaskEnvironment(task_class.__name__, self.obs_config)


class TaskEnvironment:
    def __init__(self, name, obs_config):
        self.name, self.config = name, obs_config

    def variation_count(self):
        return 1

    def set_variation(self, v):
        assert v == 0

    def reset(self):
        self.cube = np.append(np.random.uniform((0.42, -0.15), (0.58, 0.15)), 0.025)  # noqa: NPY002 - as RLBench
        self.position, self.rotation, self.is_open, self.success = np.array(HOME), DOWN, True, False
        box = (self.cube - 0.025, self.cube + 0.025)
        width, height = self.config.front_camera.image_size
        focal = 0.6 * width
        K = Intrinsics(width, height, focal, focal, width / 2 - 0.5, height / 2 - 0.5)
        self.depth_m = render((box, WALL), K, T_BASE_CAMERA) / 1000.0
        self.misc = {
            "front_camera_extrinsics": T_WORLD_BASE @ T_BASE_CAMERA @ np.diag([-1.0, -1.0, 1.0, 1.0]),
            "front_camera_intrinsics": np.array([[-focal, 0, K.cx], [0, -focal, K.cy], [0, 0, 1]]),
            "front_camera_near": NEAR,
            "front_camera_far": FAR,
        }
        return [self.name.replace("_", " "), f"please {self.name.replace('_', ' ')}"], self.observation()

    def observation(self, still=False):
        T = T_WORLD_BASE @ make_pose(self.rotation, self.position)
        height, width = self.depth_m.shape
        in_metres = self.config.front_camera.depth_in_meters
        values = {
            "gripper_pose": np.concatenate([T[:3, 3], matrix_to_quaternion(T[:3, :3])]),
            "gripper_open": float(self.is_open),
            "gripper_joint_positions": np.full(2, 0.04 * self.is_open),
            "joint_velocities": np.full(7, 0.0 if still else 0.5),
            "front_depth": self.depth_m if in_metres else (self.depth_m - NEAR) / (FAR - NEAR),
            "misc": self.misc,
        }
        for camera in ("front", "left_shoulder", "right_shoulder", "wrist"):
            if getattr(self.config, f"{camera}_camera").rgb:
                values[f"{camera}_rgb"] = np.zeros((height, width, 3), np.uint8)
            if getattr(self.config, f"{camera}_camera").point_cloud:
                values[f"{camera}_point_cloud"] = np.zeros((height, width, 3), np.float32)
        return Observation(**values)

    def step(self, action):
        assert action.shape == (8,)
        assert np.isclose(np.linalg.norm(action[3:7]), 1.0)
        position = (T_BASE_WORLD @ [*action[:3], 1.0])[:3]
        if position[2] < 0:
            raise InvalidActionError("A path could not be found because the target is outside of workspace.")
        sim.time_s += 2.0
        self.position, self.is_open = position, action[7] > 0.5
        self.success = not self.is_open and np.linalg.norm(position - self.cube) < 0.05
        return self.observation(), float(self.success), bool(self.success)

    def get_demos(self, amount, live_demos=False):
        assert live_demos
        demos = []
        for _ in range(amount):
            self.reset()
            turned = rotation_vector_to_matrix((0, 0, 2.0 * self.cube[1])) @ DOWN
            observations = []
            ways = ((HOME, self.cube + (0, 0, 0.15), True), (self.cube + (0, 0, 0.15), self.cube, False))  # noqa: RUF005
            for begin, end, stays_open in ways:
                for i in range(12):
                    self.position, self.rotation = np.array(begin) + (np.array(end) - begin) * i / 11, turned
                    observations.append(self.observation(still=i == 11))
                self.is_open = stays_open
                observations += [self.observation(still=True) for _ in range(3)]
            demos.append(Demo(observations))
        return demos
