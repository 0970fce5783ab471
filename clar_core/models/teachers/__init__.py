"""Teachers of pre-training: frozen models that turn images and sentences into features."""

from clar_core.models.teachers.base import ImageFeatures, Teacher, TeacherConfig, TeacherError, build_teacher

__all__ = ["ImageFeatures", "Teacher", "TeacherConfig", "TeacherError", "build_teacher"]
