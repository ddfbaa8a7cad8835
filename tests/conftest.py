"""For every test: one thread, as a process that forks needs; and the marks of what `make test` leaves out."""
import torch

torch.set_num_threads(1)


def pytest_configure(config):
    for mark in ('slow: takes minutes rather than seconds; run by `make test ARGS=slow`',
                 'in_browser: needs Chromium and playwright; run by `make browser`'):
        config.addinivalue_line('markers', mark)
