"""`make setup`: from a bare machine to a built workspace. Standard library only, since nothing is installed yet."""
