"""CheckpointCB in processes that are killed, on disks that are full, in folders that cannot be written to.

`COSINE_LR_KILLS=100 pytest tests/test_checkpoint.py` kills a hundred times instead of a few.
"""
import os
import random
import resource
import signal
import stat
import tempfile
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cosine_lr import (Accuracy, Callback, CheckpointCB, Learner, MetricsCB, MomentumCB, RecorderCB, ScheduleCB, cosine,
                       digits_dls, linear)
from cosine_lr.data import DataLoaders
from cosine_lr.learner import CancelEpochException
from cosine_lr.run import GradAccumCB, checkpoint, split_params
from cosine_lr.run.saving import pack

KILLS = int(os.environ.get('COSINE_LR_KILLS', 4))
EPOCHS, BATCHES = 4, 17
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork: no processes to kill here')]


def silent(line): pass


def learner():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(.2), nn.Linear(32, 10))
    return Learner(model, digits_dls(), F.cross_entropy, opt_func=torch.optim.AdamW)


def train(folder=None, *cbs, epochs=EPOCHS, every=3, log=silent):
    "A run, resumed where the folder has one; gives all the bits it leaves behind"
    learn, rec, scores = learner(), RecorderCB(), MetricsCB(Accuracy(), log=silent)
    keep = [CheckpointCB(folder, every=every, best=('valid_loss', min), log=log)] if folder else []
    learn.fit(epochs, cbs=[ScheduleCB(lr=.02*cosine()), rec, scores, *keep, *cbs])
    tensors = [*learn.model.state_dict().values(), *[v for state in learn.opt.state.values() for v in state.values()]]
    return [t.tolist() for t in tensors], rec['loss'].tolist(), rec['lr'].tolist(), scores.rows, learn.steps


@pytest.fixture(scope='module')
def whole(): return train()


def in_process(work):
    "Fork a process that does `work` and exits; gives its id"
    pid = os.fork()
    if pid: return pid
    code = 1
    try:
        work()
        code = 0
    finally: os._exit(code)


def end_of(pid): return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def seconds(folder):
    start = time.perf_counter()
    assert end_of(in_process(lambda: train(folder))) == 0
    return time.perf_counter() - start


def test_killed_at_random_times(tmp_path, whole):
    dice, length, killed, lives = random.Random(KILLS), seconds(tmp_path/'timed'), 0, 0
    while killed < KILLS:
        folder, lives = tmp_path/f'run {lives}', lives + 1
        for _ in range(dice.randint(1, 3)):                            # a run may be killed more than once
            pid = in_process(lambda: train(folder))
            time.sleep(dice.random()*length)
            os.kill(pid, signal.SIGKILL)
            killed += end_of(pid) == -signal.SIGKILL
        assert train(folder) == whole
    print(f'{killed} kills in {lives} runs: 0 lost, 0 corrupt, 0 different bits')


@pytest.mark.parametrize('call', ['fsync', 'replace'])
@pytest.mark.parametrize('when', ['before', 'after'])
def test_killed_while_writing(tmp_path, whole, call, when):
    real, calls = getattr(os, call), iter(range(10_000))
    def deadly(*args):
        last = next(calls) == 11
        if last and when == 'before': os.kill(os.getpid(), signal.SIGKILL)
        real(*args)
        if last: os.kill(os.getpid(), signal.SIGKILL)
    def work():
        setattr(os, call, deadly)
        train(tmp_path)
    assert end_of(in_process(work)) == -signal.SIGKILL
    assert train(tmp_path) == whole
    assert not list(tmp_path.glob('.*.part'))


@pytest.mark.parametrize('harm', [lambda b: b[:len(b)//2], lambda b: b[:-1], lambda b: b'', lambda b: b[:999] + bytes([b[999] ^ 1]) + b[1000:], lambda b: b'PK' + b])
def test_the_newest_file_is_damaged(tmp_path, whole, harm):
    said = []
    stop_after(tmp_path, 20)
    newest = sorted(tmp_path.glob('batch-*.pt'))[-1]
    newest.write_bytes(harm(newest.read_bytes()))
    assert train(tmp_path, log=said.append) == whole
    assert newest.with_suffix('.damaged').exists() and newest.name in said[0] and said[1] == 'going on after epoch 0, batch 14'


def test_all_files_are_damaged(tmp_path, whole):
    said = []
    stop_after(tmp_path, 20)
    for path in tmp_path.glob('batch-*.pt'): path.write_bytes(b'')
    assert train(tmp_path, log=said.append) == whole and len(said) == 2


class Stop(Exception): pass


class StopAfter(Callback):
    def __init__(self, step): self.at = step
    def after_step(self, learn):
        if learn.steps == self.at: raise Stop


def stop_after(folder, step):
    with pytest.raises(Stop): train(folder, StopAfter(step))


def test_a_full_disk(tmp_path, whole):
    "The file-size limit of the process stands for a disk without room"
    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        stop_after(tmp_path, 20)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        with pytest.raises(OSError, match='could not write the checkpoint'): train(tmp_path)
        assert not list(tmp_path.glob('.*.part'))
    assert end_of(in_process(work)) == 0
    assert len(list(tmp_path.glob('batch-*.pt'))) == 2
    assert train(tmp_path) == whole


def test_a_read_only_folder(whole): # after a run all modules are imported, which the other user may not read
    with tempfile.TemporaryDirectory() as folder:
        def work():
            if os.geteuid() == 0: os.seteuid(65534)                    # nothing is read-only to root
            with pytest.raises(OSError, match='cannot write to folder.*Permission'): train(folder)
            with pytest.raises(OSError, match='cannot write to folder.*Permission'): train(os.path.join(folder, 'inside'))
        os.chmod(folder, 0o555)
        assert end_of(in_process(work)) == 0


def test_another_version(tmp_path):
    stop_after(tmp_path, 20)
    state = checkpoint.read_state(checkpoint.newest_first(tmp_path)[0])
    checkpoint.write_state(tmp_path/'batch-000000019-{digest}.pt', state | dict(format=checkpoint.FORMAT + 1))
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(ValueError, match='format 2'): train(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_another_model(tmp_path):
    stop_after(tmp_path, 20)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(ValueError, match='another model'): Learner(nn.Linear(64, 10), digits_dls(), F.cross_entropy).fit(1, cbs=[CheckpointCB(tmp_path)])
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_synced_then_renamed_then_the_folder_synced(tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace
    def look_fsync(handle):
        calls.append('folder' if stat.S_ISDIR(os.fstat(handle).st_mode) else 'file')
        fsync(handle)
    def look_replace(old, new):
        calls.append('rename')
        replace(old, new)
    monkeypatch.setattr(os, 'fsync', look_fsync)
    monkeypatch.setattr(os, 'replace', look_replace)
    checkpoint.write_state(tmp_path/'best.pt', dict(a=1))
    assert calls == ['file', 'rename', 'folder']


class Counting(nn.Module):
    "Has a buffer that its state_dict leaves out"
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self.register_buffer('seen', torch.zeros(()), persistent=False)
    def forward(self, x):
        if self.training: self.seen += 1
        return self.layer(x)*(1 + self.seen/100)


def counted(folder=None, *cbs):
    torch.manual_seed(0)
    learn = Learner(Counting(), digits_dls(), F.cross_entropy)
    keep = [CheckpointCB(folder, every=3, log=silent)] if folder else []
    learn.fit(2, cbs=[MomentumCB(.9), *keep, *cbs])
    return [p.tolist() for p in learn.model.parameters()], learn.model.seen.item()


def test_gradients_that_are_kept_and_buffers_that_are_not_named(tmp_path):
    with pytest.raises(Stop): counted(tmp_path, StopAfter(20))
    assert counted(tmp_path) == counted()


def test_the_best_score_is_remembered(tmp_path):
    def fit(*cbs): learner().fit(3, cbs=[MetricsCB(log=silent), CheckpointCB(tmp_path, every=3, best=('epoch', min), log=silent), *cbs])
    with pytest.raises(Stop): fit(StopAfter(20))
    fit()
    assert torch.load(tmp_path/'best.pt', weights_only=True)['row']['epoch'] == 0


def test_the_first_of_equal_scores_is_the_best(tmp_path):
    learner().fit(3, cbs=[MetricsCB(log=silent), CheckpointCB(tmp_path, best=('lr', min))])
    assert torch.load(tmp_path/'best.pt', weights_only=True)['row']['epoch'] == 0


def test_dice_out_of_reach(tmp_path):
    loader = torch.utils.data.DataLoader(digits_dls().valid.dataset, 64, num_workers=1, persistent_workers=True)
    with pytest.raises(ValueError, match='persistent_workers'): Learner(nn.Linear(64, 10), DataLoaders(loader, loader), F.cross_entropy).fit(1, cbs=[CheckpointCB(tmp_path)])


def test_another_torch(tmp_path, whole):
    stop_after(tmp_path, 20)
    newest = checkpoint.newest_first(tmp_path)[0]
    state = checkpoint.read_state(newest)
    newest.unlink()
    checkpoint.write_state(tmp_path/'batch-000000018-{digest}.pt', state | dict(torch='1.0'))
    with pytest.warns(UserWarning, match='made with torch 1.0'): assert train(tmp_path) == whole


def test_validation_alone_touches_nothing(tmp_path):
    learner().fit(1, train=False, cbs=[CheckpointCB(tmp_path/'new')])
    assert not list(tmp_path.iterdir())


def test_an_error_at_a_batch_that_is_due(tmp_path, whole):
    stop_after(tmp_path, 18)                                           # the weights are new, the metrics have not seen the batch
    assert train(tmp_path) == whole


def test_the_last_batch_is_saved(tmp_path, whole):
    train(tmp_path, every=50)
    assert [p.name[:15] for p in sorted(tmp_path.glob('batch-*.pt'))] == ['batch-000000050', 'batch-000000068']


def test_another_dtype(tmp_path):
    fit = lambda model: Learner(model, digits_dls(), lambda preds, y: F.cross_entropy(preds.float(), y)).fit(1, cbs=[CheckpointCB(tmp_path)])
    class Cast(nn.Module):
        def __init__(self, dtype):
            super().__init__()
            self.layer = nn.Linear(64, 10, dtype=dtype)
        def forward(self, x): return self.layer(x.to(self.layer.weight.dtype))
    fit(Cast(torch.float32))
    with pytest.raises(ValueError, match='another model.*float64'): fit(Cast(torch.float64))


def rates(folder, *cbs, epochs=2, end='open', on_resume='raise', lr=0.):
    "Learning rates, and the rows of the table, of a run that takes four batches a step and saves every three"
    rec, scores = RecorderCB(), MetricsCB(log=silent)
    keep = [CheckpointCB(folder, every=3, on_resume=on_resume, log=silent)] if folder else []
    learn = Learner(nn.Linear(64, 10), digits_dls(), F.cross_entropy, opt_func=lambda params, **kw: torch.optim.SGD(params, lr=lr))
    try: learn.fit(epochs, cbs=[GradAccumCB(4), ScheduleCB(end=end, lr=linear(1, 0)), rec, scores, *keep, *cbs])
    except Stop: pass
    return rec['lr'].tolist(), [row['lr'] for row in scores.rows]


def test_another_horizon_counts_steps_and_outlives_a_second_kill(tmp_path):
    rates(tmp_path, StopAfter(3))                                      # at batch 12; batch 9, after 2 steps of 10, was saved
    rates(tmp_path, StopAfter(8), epochs=4, on_resume='stretch')
    stretched = [1 - (.2 + .8*k/18) for k in range(18)]
    assert rates(tmp_path, epochs=4)[0] == pytest.approx([1, .9, *stretched])


@pytest.mark.parametrize('how', [dict(), dict(end='closed'), dict(lr=torch.tensor(0.))])
def test_the_plan_is_the_schedules(tmp_path, how):
    "With either end, and where the rate is a tensor that must not be shared"
    rates(tmp_path, StopAfter(7), **how)
    assert rates(tmp_path, **how) == rates(None, **how)


def files(folder): return {p.name: p.read_bytes() for p in folder.iterdir() if p.name[0] != '.'}


def test_without_resume_a_run_needs_a_folder_of_its_own(tmp_path):
    fit = lambda: learner().fit(1, cbs=[CheckpointCB(tmp_path/'run', resume=False)])
    (tmp_path/'run').mkdir()
    (tmp_path/'run'/'notes.txt').write_text('not a checkpoint')
    fit()
    before = files(tmp_path/'run')
    with pytest.raises(ValueError, match="run' holds checkpoints of another run, and resume=False"): fit()
    assert files(tmp_path/'run') == before and len(before) == 2


class SkipValidation(Callback):
    "Of the first epochs"
    def __init__(self, epochs): self.epochs = epochs
    def before_epoch(self, learn):
        if not learn.training and learn.epoch < self.epochs: raise CancelEpochException


def test_an_epoch_without_a_score_is_not_the_best(tmp_path):
    def fit(n, **kw): learn.fit(n, **kw, cbs=[SkipValidation(2), MetricsCB(log=silent), CheckpointCB(tmp_path/'run', best=('epoch', min), log=silent)])
    learn = learner()
    fit(3)
    best = (tmp_path/'run'/'best.pt').read_bytes()
    assert torch.load(tmp_path/'run'/'best.pt', weights_only=True)['row']['epoch'] == 2
    with torch.no_grad(): learn.model[0].weight.zero_()
    fit(4, train=False)                                                # validation alone is no epoch of the run
    assert (tmp_path/'run'/'best.pt').read_bytes() == best


def test_each_callback_gets_its_own_back(tmp_path):
    def fit(*cbs):
        recs = RecorderCB('lr'), RecorderCB('weight_decay')
        learner().fit(2, cbs=[*recs, *cbs])
        return [rec[field].tolist() for rec in recs for field in ('loss', *rec.fields)]
    with pytest.raises(Stop): fit(CheckpointCB(tmp_path, every=3, log=silent), StopAfter(20))
    assert fit(CheckpointCB(tmp_path, every=3, log=silent)) == fit()


def test_dice_of_the_validation_set(tmp_path):
    def fit(*cbs):
        torch.manual_seed(0)
        order = torch.Generator().manual_seed(3)
        dls, scores = digits_dls(), MetricsCB(log=silent)
        valid = torch.utils.data.DataLoader(dls.valid.dataset, 64, sampler=torch.utils.data.RandomSampler(dls.valid.dataset, num_samples=64, generator=order))
        Learner(nn.Linear(64, 10), DataLoaders(dls.train, valid), F.cross_entropy, cbs=[scores, *cbs]).fit(3)
        return scores.rows
    with pytest.raises(Stop): fit(CheckpointCB(tmp_path, every=3, log=silent), StopAfter(40))
    assert fit(CheckpointCB(tmp_path, every=3, log=silent)) == fit()


def test_a_run_that_mends_an_error_is_saved_too(tmp_path, whole):
    try: raise Stop
    except Stop: stop_after(tmp_path, 20)
    assert len(list(tmp_path.glob('batch-*.pt'))) == 2 and train(tmp_path) == whole


def test_other_param_groups(tmp_path):
    stop_after(tmp_path, 20)
    learn = learner()
    learn.opt_func = lambda params, lr: torch.optim.AdamW(split_params(learn.model, '0.'), lr=lr)
    with pytest.raises(ValueError, match=r'param group: \[6\] there, \[2, 4\] here'):
        learn.fit(EPOCHS, cbs=[CheckpointCB(tmp_path), RecorderCB(), MetricsCB(log=silent), ScheduleCB(lr=.02*cosine())])


def test_dice_of_numpys_older_kind(tmp_path):
    class Noisy(torch.utils.data.Dataset):
        def __init__(self): self.rows, self.rng = digits_dls().train.dataset, np.random.RandomState(0)
        def __len__(self): return 96
        def __getitem__(self, i): return self.rows[i][0] + .1*float(self.rng.normal()), self.rows[i][1]
    def fit(*cbs):
        torch.manual_seed(0)
        learn = Learner(nn.Linear(64, 10), DataLoaders(torch.utils.data.DataLoader(Noisy(), 16), None), F.cross_entropy)
        learn.fit(3, valid=False, cbs=cbs)
        return learn.model.weight.tolist()
    with pytest.raises(Stop): fit(CheckpointCB(tmp_path, every=1, log=silent), StopAfter(9))
    assert fit(CheckpointCB(tmp_path, every=1, log=silent)) == fit()


def test_a_whole_number_of_numpy_is_saved_as_one():
    packed = pack(dict(a=np.int64(3), b=[np.int32(1), 'x'], c=True))
    assert packed == dict(a=3, b=[1, 'x'], c=True) and list(map(type, (packed['a'], packed['b'][0], packed['c']))) == [int, int, bool]


@pytest.mark.parametrize('epochs', [1, 2])
def test_the_best_epoch_needs_a_validation(tmp_path, epochs):
    learn = learner()
    keep = lambda: [CheckpointCB(tmp_path, best=('valid_loss', min), log=silent), MetricsCB(log=silent)]
    with pytest.raises(ValueError, match=r"CheckpointCB\(best='valid_loss'\) needs a validation after each epoch"): learn.fit(epochs, valid=False, cbs=keep())
    assert learn.steps == 17                                            # no second epoch for nothing
    learn.fit(epochs, train=False, cbs=keep())                         # nothing is trained: nothing to keep
