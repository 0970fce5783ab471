"""What the policy sees, defined once: from a depth image and a robot state to the network's input."""
