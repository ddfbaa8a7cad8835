"""The wheel is tested, not the checkout; each test starts from the same seed."""
from pathlib import Path

import cosine_lr
import pytest
import torch

assert 'site-packages' in Path(cosine_lr.__file__).parts, f'imported from {cosine_lr.__file__}'
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seed(): torch.manual_seed(0)
