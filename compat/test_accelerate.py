"""ScheduleLR in an Accelerate loop of two processes on the CPU."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from common import momenta, rates

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope='module')
def launch(tmp_path_factory):
    def run(mode):
        out = tmp_path_factory.mktemp(mode)/'used.json'
        command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2',
                   str(HERE/'accelerate_loop.py'), mode, str(out)]
        env = os.environ | {'ACCELERATE_USE_CPU': 'true', 'OMP_NUM_THREADS': '1'}
        done = subprocess.run(command, cwd=out.parent, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        return [json.loads(Path(f'{out}.{rank}').read_text(encoding='utf-8')) for rank in range(2)]
    return run


@pytest.mark.parametrize('mode', ['raw', 'unlinked', 'longer'])
def test_two_processes(launch, mode):
    for steps, lr, momentum in launch(mode):
        assert steps == 32 and lr == rates(steps) and momentum == momenta(steps)


def test_naive_is_twice_as_fast(launch):
    "What the three ways avoid; if this fails, Accelerate has changed, and the advice can go"
    for steps, lr, _ in launch('naive'):
        end = rates(steps, steps + 1)[-1]
        assert lr == rates(steps)[::2] + [end]*(steps//2)
