"""Rigid transforms, frames, cameras and point operations."""
