"""The verb `doctor`: what stands between this machine and a run, and the remedy for each."""
