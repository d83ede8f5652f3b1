"""What tests share: signals, small priors, hostile input, and commands that are run in this process."""

import os

# before numpy and torch are loaded, here and in commands that tests start: there is a process of tests for every core
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
