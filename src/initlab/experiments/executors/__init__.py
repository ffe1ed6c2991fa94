"""Where chunks of jobs run. An executor knows only "run this chunk"."""
