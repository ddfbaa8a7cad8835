"""For every test: one thread, as a process that forks needs; Ctrl-C; random numbers; what is left out."""
import random
import signal

import numpy as np
import pytest
import torch

torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start without it


def pytest_configure(config):
    for mark in ('slow: takes minutes rather than seconds; run by `make test ARGS=slow`',
                 'in_browser: needs Chromium and playwright; run by `make browser`'):
        config.addinivalue_line('markers', mark)


@pytest.fixture(autouse=True)
def the_same_random_numbers():
    "A test draws what it draws alone, whichever tests ran before it"
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
