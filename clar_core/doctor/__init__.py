"""What has to be right before a run, checked without ROS; each finding with its remedy."""
