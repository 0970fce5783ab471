"""Trials of a policy, the statistics over them, and the report that shows both."""
