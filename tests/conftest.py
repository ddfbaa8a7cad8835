"""For every test: one thread, as a process that forks must have; and the marker `slow`, for what `make test` leaves to CI."""
import torch

torch.set_num_threads(1)


def pytest_configure(config): config.addinivalue_line('markers', 'slow: minutes rather than seconds; run by `make test ARGS=slow`')
