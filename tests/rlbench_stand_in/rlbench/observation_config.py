"""Stand-in, see README.md."""

from pyrep.const import RenderMode


class CameraConfig:
    def __init__(
        self,
        rgb=True,
        depth=True,
        point_cloud=True,
        mask=True,
        image_size=(128, 128),
        render_mode=RenderMode.OPENGL3,
        depth_in_meters=False,
    ):
        self.rgb, self.depth, self.point_cloud, self.mask = rgb, depth, point_cloud, mask
        self.image_size, self.depth_in_meters = image_size, depth_in_meters

    def set_all(self, value):
        self.rgb = self.depth = self.point_cloud = self.mask = value


class ObservationConfig:
    def __init__(self):
        for name in ("left_shoulder", "right_shoulder", "overhead", "wrist", "front"):
            setattr(self, f"{name}_camera", CameraConfig())
        self.gripper_open = self.gripper_pose = True
        self.gripper_joint_positions = False

    def set_all(self, value):
        for name in ("left_shoulder", "right_shoulder", "overhead", "wrist", "front"):
            getattr(self, f"{name}_camera").set_all(value)
        self.gripper_open = self.gripper_pose = self.gripper_joint_positions = value
