#!/bin/bash
# Run a command in the environment that `make setup` built into the image.
set -e
source /clar/setup.bash
exec "$@"
