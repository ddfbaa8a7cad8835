"""For every test: one thread, as a process that forks needs; Ctrl-C; the marks of what is left out."""
import signal

import torch

torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start without it


def pytest_configure(config):
    for mark in ('slow: takes minutes rather than seconds; run by `make test ARGS=slow`',
                 'in_browser: needs Chromium and playwright; run by `make browser`'):
        config.addinivalue_line('markers', mark)
