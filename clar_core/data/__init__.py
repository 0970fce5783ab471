"""Demonstrations: episodes in memory, the store on disk, the dataset that training reads."""
