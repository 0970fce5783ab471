# Source me, from bash or zsh: a shell with CLAR's virtual environment, ROS 2 and the built workspace.
#   source setup.bash                 what `make setup` made
#   LOCK=jazzy source setup.bash      what `make setup LOCK=jazzy` made (docs/setup.md)
# What a site may want to choose (DDS discovery and profile, rendering) is kept where it is already set.

_clar_prepend() {  # _clar_prepend VARIABLE FOLDER: the folder comes first in the variable, once
    local kept
    eval "kept=\"\${$1:-}\""
    kept=":$kept:"
    while [ "${kept#*":$2:"}" != "$kept" ]; do
        kept="${kept%%":$2:"*}:${kept#*":$2:"}"
    done
    kept="${kept#:}"
    kept="${kept%:}"
    export "$1=$2${kept:+:$kept}"
}

_clar_setup() {  # _clar_setup ROOT SHELL
    local suffix="${LOCK:+-$LOCK}"
    local venv="$1/.venv$suffix" workspace="$1/ros2_ws/install$suffix" folder
    if [ ! -x "$venv/bin/python" ] || [ ! -f "$workspace/local_setup.$2" ]; then
        echo "setup.bash: expected a built environment in $venv and $workspace, found none." >&2
        echo "setup.bash: run this first: make -C $1 setup${LOCK:+ LOCK=$LOCK}" >&2
        return 1
    fi

    if [ -f "/opt/ros/jazzy/setup.$2" ]; then
        . "/opt/ros/jazzy/setup.$2"
    else
        # ROS 2 lives in wheels inside the virtual environment. Their own bootstrap would start every interpreter
        # twice to set the library path; set here, and said so by its guard variable, it starts once.
        while IFS= read -r folder; do
            _clar_prepend LD_LIBRARY_PATH "$folder"
        done <<FOLDERS
$(find "$venv"/lib/python3*/site-packages -maxdepth 1 -name 'ros_*.libs' | sort -r)
$venv/lib
FOLDERS
        _clar_prepend AMENT_PREFIX_PATH "$venv"
        _clar_prepend CMAKE_PREFIX_PATH "$venv"
        export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
    fi
    . "$workspace/local_setup.$2"
    # Sourced a second time, the workspace must still come before what it builds upon.
    _clar_prepend AMENT_PREFIX_PATH "$workspace"
    _clar_prepend CMAKE_PREFIX_PATH "$workspace"
    _clar_prepend LD_LIBRARY_PATH "$workspace/lib"

    # An empty entry would make the loader search the current folder.
    LD_LIBRARY_PATH="${LD_LIBRARY_PATH%:}"
    export LD_LIBRARY_PATH
    export VIRTUAL_ENV="$venv"
    _clar_prepend PATH "$venv/bin"

    export RMW_IMPLEMENTATION="${RMW_IMPLEMENTATION:-rmw_fastrtps_cpp}"
    export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
    export FASTRTPS_DEFAULT_PROFILES_FILE="${FASTRTPS_DEFAULT_PROFILES_FILE:-$1/ros2_ws/src/clar/config/fastdds.xml}"
    export MUJOCO_GL="${MUJOCO_GL:-osmesa}"
}

if [ -n "${ZSH_VERSION:-}" ]; then
    eval '_clar_setup "${${(%):-%x}:A:h}" zsh'
else
    _clar_setup "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)" bash
fi
