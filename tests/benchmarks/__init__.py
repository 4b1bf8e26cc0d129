"""Benchmarks: what a charge costs, as ratios in one run. Machines are noisy, ratios less so."""
