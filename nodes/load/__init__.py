"""Load tests: a schedule of intended send times, workers, and books that balance."""
