"""Stand-in, see README.md."""

time_s = 0.0


def simGetSimulationTime():
    return time_s
