"""Encoders that CLAR is compared with; one file each, behind the same policy head."""
