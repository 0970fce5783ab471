#!/bin/sh
# Print an interpreter that CLAR can be set up with. A ROS distribution's packages import only under the system's own one.
if [ -f /opt/ros/jazzy/setup.bash ]; then
    candidates="/usr/bin/python3"
else
    candidates="python3 python3.12 python3.11 python3.13 /usr/bin/python3"
fi
for candidate in $candidates; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
        command -v "$candidate"
        exit 0
    fi
done
echo "expected Python 3.11, 3.12 or 3.13, found none of: $candidates. Debian 12 and Ubuntu 24.04 have it:" >&2
echo "    sudo apt-get install --yes python3 python3-venv python3-dev" >&2
exit 1
