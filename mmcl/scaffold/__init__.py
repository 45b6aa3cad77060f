"""What ``mmcl new`` writes: complete, installable packages to start a strategy, benchmark or backbone from."""
