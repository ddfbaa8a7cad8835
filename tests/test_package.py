"""The package as its users import it."""
import subprocess
import sys
import time

import pytest

import cosine_lr

POST = '''Callback CallbackList CancelBatchException CancelEpochException CancelFitException Learner TrainCB TrainLearner MomentumLearner
SingleBatchCB DeviceCB to_cpu Metric Accuracy MetricsCB LRFinderCB lr_find RecorderCB ProgressCB ScheduleCB cosine digits_dls'''


def test_every_name_of_the_post_is_there():
    assert not set(POST.split()) - set(cosine_lr.__all__)


def test_every_public_name_has_a_docstring():
    assert [name for name in cosine_lr.__all__ if not getattr(cosine_lr, name).__doc__] == []


@pytest.mark.slow
def test_importing_costs_little_more_than_torch():
    def seconds(module):
        start = time.perf_counter()
        subprocess.run([sys.executable, '-c', f'import {module}'], check=True)
        return time.perf_counter() - start
    pairs = [(seconds('torch'), seconds('cosine_lr')) for _ in range(3)]
    torch, ours = map(min, zip(*pairs))
    assert ours < 1.3*torch


def test_heavy_libraries_wait_until_they_are_used():
    code = "import sys, cosine_lr; print([m for m in ('matplotlib', 'sklearn', 'datasets', 'tqdm.auto', 'fastcore') if m in sys.modules])"
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip() == '[]'


def test_import_needs_no_extra():
    code = "import sys, cosine_lr, cosine_lr.cli; assert not {'optuna', 'sqlalchemy', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, '-c', code], check=True)
