"""For every test: one thread, as a process that forks needs; and `slow`, for what `make test` leaves out."""
import torch

torch.set_num_threads(1)


def pytest_configure(config):
    slow = 'slow: takes minutes rather than seconds; run by `make test ARGS=slow`'
    config.addinivalue_line('markers', slow)
