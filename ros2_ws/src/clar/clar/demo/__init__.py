"""``clar demo``: trials of a policy in the live simulated cell, from launch to report, without an operator."""
