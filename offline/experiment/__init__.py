"""A simulated online experiment: two arms over the traffic mix through the gateway (Filter-And-Refine, Table 3)."""
