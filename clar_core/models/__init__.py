"""Networks: the point encoder, the policy and the baselines."""
