"""What other processes do in the tests; a module of its own, since each of them has to import it."""

import os
import signal
import time
from pathlib import Path


def square(numbers):
    """13 kills its process, 14 the first process that has it, and 15 fails."""
    for number in numbers:
        if number == 13 or (number == 14 and not Path("been-there").exists()):
            Path("been-there").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 15:
            raise ValueError("of no use")
    return [number**2 for number in numbers]


def threads(_items):
    return [os.environ["OMP_NUM_THREADS"]]


def sleep(seconds):
    time.sleep(seconds[0])
    return seconds


def say_and_sleep(seconds):
    print("working", flush=True)
    return sleep(seconds)
