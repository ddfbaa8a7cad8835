"""CheckpointCB in processes that are killed, on disks that are full, in folders that cannot be written to.

`COSINE_LR_KILLS=100 pytest tests/test_checkpoint.py` kills a hundred times instead of a few.
"""
import hashlib
import os
import random
import re
import resource
import signal
import socket
import stat
import tempfile
import time
import zipfile
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from holders import HOLDERS, Run
from torch import nn

from cosine_lr import (Accuracy, Callback, CheckpointCB, Learner, MetricsCB, MomentumCB, RecorderCB,
                       ScheduleCB, cosine, digits_dls, linear)
from cosine_lr.data import DataLoaders
from cosine_lr.learner import CancelEpochException
from cosine_lr.run import GradAccumCB, checkpoint, split_params
from cosine_lr.run.saving import pack, unpack

KILLS = int(os.environ.get('COSINE_LR_KILLS', 4))
EPOCHS, BATCHES = 4, 17
pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork: no processes to kill here')]


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
    moments = [v for state in learn.opt.state.values() for v in state.values()]
    tensors = [*learn.model.state_dict().values(), *moments]
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


HARM = [lambda b: b[:len(b)//2], lambda b: b[:-1], lambda b: b'', lambda b: b'PK' + b,
        lambda b: b[:999] + bytes([b[999] ^ 1]) + b[1000:]]

@pytest.mark.parametrize('harm', HARM)
def test_the_newest_file_is_damaged(tmp_path, whole, harm):
    said = []
    stop_after(tmp_path, 20)
    newest = sorted(tmp_path.glob('batch-*.pt'))[-1]
    newest.write_bytes(harm(newest.read_bytes()))
    assert train(tmp_path, log=said.append) == whole
    assert newest.with_suffix('.damaged').exists() and newest.name in said[0]
    assert said[1] == 'going on after epoch 0, batch 14'


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
            with pytest.raises(OSError, match='cannot write to folder.*Permission'):
                train(os.path.join(folder, 'inside'))
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
    other = Learner(nn.Linear(64, 10), digits_dls(), F.cross_entropy)
    with pytest.raises(ValueError, match='another model'): other.fit(1, cbs=[CheckpointCB(tmp_path)])
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
    def fit(*cbs):
        keep = CheckpointCB(tmp_path, every=3, best=('epoch', min), log=silent)
        learner().fit(3, cbs=[MetricsCB(log=silent), keep, *cbs])
    with pytest.raises(Stop): fit(StopAfter(20))
    fit()
    assert torch.load(tmp_path/'best.pt', weights_only=True)['row']['epoch'] == 0


def test_the_first_of_equal_scores_is_the_best(tmp_path):
    learner().fit(3, cbs=[MetricsCB(log=silent), CheckpointCB(tmp_path, best=('lr', min))])
    assert torch.load(tmp_path/'best.pt', weights_only=True)['row']['epoch'] == 0


def test_dice_out_of_reach(tmp_path):
    rows = digits_dls().valid.dataset
    loader = torch.utils.data.DataLoader(rows, 64, num_workers=1, persistent_workers=True)
    learn = Learner(nn.Linear(64, 10), DataLoaders(loader, loader), F.cross_entropy)
    with pytest.raises(ValueError, match='persistent_workers'): learn.fit(1, cbs=[CheckpointCB(tmp_path)])


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
    stop_after(tmp_path, 18) # the weights are new, the metrics have not seen the batch
    assert train(tmp_path) == whole


def test_the_last_batch_is_saved(tmp_path, whole):
    train(tmp_path, every=50)
    kept = [p.name[:15] for p in sorted(tmp_path.glob('batch-*.pt'))]
    assert kept == ['batch-000000050', 'batch-000000068']


def test_another_dtype(tmp_path):
    def loss(preds, y): return F.cross_entropy(preds.float(), y)
    def fit(model): return Learner(model, digits_dls(), loss).fit(1, cbs=[CheckpointCB(tmp_path)])
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
    def sgd(params, **kw): return torch.optim.SGD(params, lr=lr)
    learn = Learner(nn.Linear(64, 10), digits_dls(), F.cross_entropy, opt_func=sgd)
    plan = ScheduleCB(end=end, lr=linear(1, 0))
    try: learn.fit(epochs, cbs=[GradAccumCB(4), plan, rec, scores, *keep, *cbs])
    except Stop: pass
    return rec['lr'].tolist(), [row['lr'] for row in scores.rows]


def test_another_horizon_counts_steps_and_outlives_a_second_kill(tmp_path):
    rates(tmp_path, StopAfter(3)) # at batch 12; batch 9, after 2 steps of 10, was saved
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
    def fit(n, **kw):
        keep = CheckpointCB(tmp_path/'run', best=('epoch', min), log=silent)
        learn.fit(n, **kw, cbs=[SkipValidation(2), MetricsCB(log=silent), keep])
    learn = learner()
    fit(3)
    best = (tmp_path/'run'/'best.pt').read_bytes()
    assert torch.load(tmp_path/'run'/'best.pt', weights_only=True)['row']['epoch'] == 2
    with torch.no_grad(): learn.model[0].weight.zero_()
    fit(4, train=False) # validation alone is no epoch of the run
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
        rows = dls.valid.dataset
        some = torch.utils.data.RandomSampler(rows, num_samples=64, generator=order)
        valid = torch.utils.data.DataLoader(rows, 64, sampler=some)
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
        plan = ScheduleCB(lr=.02*cosine())
        learn.fit(EPOCHS, cbs=[CheckpointCB(tmp_path), RecorderCB(), MetricsCB(log=silent), plan])


def test_dice_of_numpys_older_kind(tmp_path):
    class Noisy(torch.utils.data.Dataset):
        def __init__(self): self.rows, self.rng = digits_dls().train.dataset, np.random.RandomState(0)
        def __len__(self): return 96
        def __getitem__(self, i): return self.rows[i][0] + .1*float(self.rng.normal()), self.rows[i][1]
    def fit(*cbs):
        torch.manual_seed(0)
        loader = torch.utils.data.DataLoader(Noisy(), 16)
        learn = Learner(nn.Linear(64, 10), DataLoaders(loader, None), F.cross_entropy)
        learn.fit(3, valid=False, cbs=cbs)
        return learn.model.weight.tolist()
    with pytest.raises(Stop): fit(CheckpointCB(tmp_path, every=1, log=silent), StopAfter(9))
    assert fit(CheckpointCB(tmp_path, every=1, log=silent)) == fit()


def test_a_whole_number_of_numpy_is_saved_as_one():
    packed = pack(dict(a=np.int64(3), b=[np.int32(1), 'x'], c=True))
    assert packed == dict(a=3, b=[1, 'x'], c=True)
    assert list(map(type, (packed['a'], packed['b'][0], packed['c']))) == [int, int, bool]


@pytest.mark.parametrize('epochs', [1, 2])
def test_the_best_epoch_needs_a_validation(tmp_path, epochs):
    learn = learner()
    keep = lambda: [CheckpointCB(tmp_path, best=('valid_loss', min), log=silent), MetricsCB(log=silent)]
    missing = r"CheckpointCB\(best='valid_loss'\) needs a validation after each epoch"
    with pytest.raises(ValueError, match=missing):
        learn.fit(epochs, valid=False, cbs=keep())
    assert learn.steps == 17                                            # no second epoch for nothing
    learn.fit(epochs, train=False, cbs=keep())                         # nothing is trained: nothing to keep


# --- memories of all kinds, stopped in all ways, at all points ---

class Leave(Callback):
    "Ends the run before the batch with this number."
    def __init__(self, batch, way): self.batch, self.way, self.seen = batch, way, 0
    def before_batch(self, learn):
        if not learn.training: return
        self.seen += 1
        if self.seen - 1 == self.batch: self.way()


def fail(): raise Stop
def interrupt(): raise KeyboardInterrupt
def kill(): os.kill(os.getpid(), signal.SIGKILL)
WAYS = dict(error=(fail, 1), interrupt=(interrupt, 1), kill=(kill, -signal.SIGKILL))
POINTS = dict(early=3, late=9, at_the_end_of_an_epoch=6)                  # of 12 batches, 6 in an epoch
CROSSED = [(*holder, way, point) for i, holder in enumerate(HOLDERS)
           for way, point in [(list(WAYS)[i % 3], list(POINTS)[(i // 3) % 3]), ('kill', 'late')]]


@pytest.mark.parametrize('place, kind, way, point', dict.fromkeys(CROSSED))
def test_memories_go_on_after_a_resume(tmp_path, place, kind, way, point):
    undisturbed = Run(place, kind)
    losses, memories = undisturbed.fit(2), undisturbed.memories()
    keep = lambda: CheckpointCB(tmp_path, every=2, log=silent)
    act, status = WAYS[way]
    def work(): Run(place, kind).fit(2, cbs=[keep(), Leave(POINTS[point], act)])
    assert end_of(in_process(work)) == status
    resumed = Run(place, kind)
    assert resumed.fit(2, cbs=[keep()]) == losses and resumed.memories() == memories


@pytest.mark.parametrize('point', range(1, 12))
def test_every_point(tmp_path, point):
    keep = lambda: CheckpointCB(tmp_path, every=1, log=silent)
    with pytest.raises(Stop): Run('module', 'counter').fit(2, cbs=[keep(), Leave(point, fail)])
    assert Run('module', 'counter').fit(2, cbs=[keep()]) == Run('module', 'counter').fit(2)


# --- files of others ---

def wait_for(path):
    while not path.exists(): time.sleep(.01)


def slow_run(folder, started):
    class Wait(Callback):
        def after_step(self, learn):
            started.touch()
            time.sleep(60)
    train(folder, Wait())


def test_a_second_run_is_refused_until_the_first_is_killed(tmp_path, whole):
    folder = tmp_path/'run'
    pid = in_process(lambda: slow_run(folder, tmp_path/'started'))
    wait_for(tmp_path/'started')
    (folder/'.batch-000000003.part').write_text('of the first run')
    before = sorted(path.name for path in folder.iterdir())
    holder = f'in use by another run, process {pid} on {socket.gethostname()}'
    with pytest.raises(OSError, match=holder): train(folder)
    assert sorted(path.name for path in folder.iterdir()) == before
    os.kill(pid, signal.SIGKILL)
    assert end_of(pid) == -signal.SIGKILL
    assert train(folder) == whole and not list(folder.glob('.*.part'))


def test_workers_do_not_hold_the_lock(tmp_path):
    "They live on for seconds when their run is killed"
    def work():
        dls = digits_dls()
        dls.train = torch.utils.data.DataLoader(dls.train.dataset, 64, num_workers=1)
        cbs = [CheckpointCB(tmp_path/'run', log=silent), StopAfter(3), KillHere(tmp_path/'worker')]
        Learner(nn.Linear(64, 10), dls, F.cross_entropy).fit(1, cbs=cbs)
    class KillHere(Callback):
        def __init__(self, note): self.note = note
        def after_step(self, learn):
            if learn.steps < 2: return
            import multiprocessing
            self.note.write_text(str(multiprocessing.active_children()[0].pid))
            kill()
    assert end_of(in_process(work)) == -signal.SIGKILL
    checkpoint.take(tmp_path/'run').release()


def test_a_run_that_fails_frees_its_folder(tmp_path, whole):
    stop_after(tmp_path, 20)
    other = Learner(nn.Linear(64, 10), digits_dls(), F.cross_entropy)
    with pytest.raises(ValueError): other.fit(2, cbs=[CheckpointCB(tmp_path)])
    assert train(tmp_path) == whole


def forge(folder, state, number=18):
    "A file with the right digest"
    part = folder/'forged'
    torch.save(state, part)
    digest = hashlib.sha256(part.read_bytes()).hexdigest()[:16]
    return part.rename(folder/f'batch-{number:09d}-{digest}.pt')


def stored(folder): # what is in the newest file
    return torch.load(checkpoint.newest_first(folder)[0], weights_only=True)


def without(name): return lambda state: {key: value for key, value in state.items() if key != name}
def replaced(**new): return lambda state: state | new
def with_own(**new): return lambda state: state | dict(own=[state['own'][0] | new])


HUGE = torch.zeros(1).expand(3*10**8)
FORGED = {
    'lacks steps': (without('steps'), 'steps must be'), 'lacks own': (without('own'), "lacks 'own'"),
    'lacks opt': (without('opt'), "lacks 'opt'"),
    'a text': (replaced(epoch='one'), "epoch must be.*got epoch='one'"),
    'a bool': (replaced(done=True), 'done=True'), 'before the first epoch': (replaced(epoch=-1), 'epoch=-1'),
    'no such step': (replaced(steps=10**6), 'steps=1000000'), 'no such batch': (replaced(done=18), 'done=18'),
    'no process': (replaced(own=[]), 'a process lacks'),
    'no list': (replaced(plans={}), 'plans of the state'),
    'no start': (with_own(start=None), 'start of a process'),
    'no cells': (with_own(cells=3), 'cells of a process'),
    'expanded': (replaced(cells={'model.0.weight': HUGE}), 'claim 1,200,0.*bytes'),
    'expanded inside': (with_own(cells={'loss': [dict(a=HUGE)]}), 'claim 1,200,0.*bytes'),
    'shared': (replaced(cells=dict(more=[torch.ones(10**5)]*99)), 'claim 39,'),
    'a call': (replaced(cells=bytearray(5)), 'it calls'),
}


@pytest.mark.parametrize('name', FORGED)
def test_a_forged_file_is_named_and_passed_over(tmp_path, whole, name):
    stop_after(tmp_path, 20)
    change, words = FORGED[name]
    path, said = forge(tmp_path, change(stored(tmp_path)), 19), []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert train(tmp_path, log=said.append) == whole
    assert re.search(words, said[0]) and path.name in said[0] and path.with_suffix('.damaged').exists()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000 # KiB; it claims 1.2 GB


def test_a_compressed_file_is_refused(tmp_path, whole):
    stop_after(tmp_path, 20)
    path = forge(tmp_path, stored(tmp_path) | dict(zeros=torch.zeros(10**7)), 19)
    small = tmp_path/'small'
    with zipfile.ZipFile(path) as file, zipfile.ZipFile(small, 'w', zipfile.ZIP_DEFLATED) as other:
        for part in file.infolist(): other.writestr(part.filename, file.read(part), zipfile.ZIP_DEFLATED)
    path.unlink()
    digest, said = hashlib.sha256(small.read_bytes()).hexdigest()[:16], []
    assert small.stat().st_size < 10**6
    small.rename(tmp_path/f'batch-000000019-{digest}.pt')
    assert train(tmp_path, log=said.append) == whole and 'compressed' in said[0]


MISFITS = {'model.4.bias': torch.zeros(3), 'model.1.running_mean': 'text', 'cbs.MetricsCB.rows': 7,
           'random.torch': torch.zeros(3), 'opt': dict(state={}, param_groups=[])}

@pytest.mark.parametrize('name, value', MISFITS.items())
def test_forged_values_are_refused_by_name(tmp_path, name, value):
    stop_after(tmp_path, 20)
    state = stored(tmp_path)
    part = state if name in state['cells'] else state['own'][0]
    part['cells'][name] = value
    for path in tmp_path.glob('batch*'): path.unlink()
    forge(tmp_path, state)
    with pytest.raises(ValueError, match='the checkpoint'): train(tmp_path)


@pytest.mark.parametrize('make', [lambda path: path.mkdir(), lambda path: path.symlink_to('nowhere')])
def test_what_is_no_file_is_passed_over(tmp_path, whole, make):
    stop_after(tmp_path, 20)
    said, path = [], tmp_path/'batch-000000019-0123456789abcdef.pt'
    make(path)
    assert train(tmp_path, log=said.append) == whole and said[0] == f'{path.name} is not used: it is no file'


# --- the same run? ---

class Rows(torch.utils.data.Dataset):
    def __init__(self, rows): self.rows = rows
    def __len__(self): return len(self.rows)
    def __getitem__(self, i): return self.rows[i], i % 10


def fit_rows(folder, rows, *cbs, data=Rows, opt=torch.optim.SGD, lr=.1, **kw):
    torch.manual_seed(0)
    dls = DataLoaders(torch.utils.data.DataLoader(data(rows), 8), None)
    learn = Learner(nn.Linear(4, 10), dls, F.cross_entropy, lr, opt_func=opt)
    keep = CheckpointCB(folder, every=1, **{'log': silent} | kw)
    learn.fit(2, valid=False, cbs=[keep, *cbs])
    return learn


DATA = torch.rand(32, 4, generator=torch.Generator().manual_seed(0))
OTHERS = {'shorter': DATA[:30], 'another first row': torch.cat([DATA[1:2], DATA[1:]]),
          'another last row': torch.cat([DATA[:-1], DATA[:1]]),
          'another dtype': DATA.double()}


@pytest.mark.parametrize('name', OTHERS)
def test_other_data_are_refused_or_accepted(tmp_path, name):
    with pytest.raises(Stop): fit_rows(tmp_path, DATA, StopAfter(6))
    with pytest.raises(ValueError, match=r"data of dls.train: .*accept=\['data'\]"):
        fit_rows(tmp_path, OTHERS[name])
    if name == 'another dtype': return
    ours = OTHERS[name].clone()
    learn = fit_rows(tmp_path, ours, accept=['data'])
    assert learn.steps == 8 and learn.dls.train.dataset.rows is ours and torch.equal(ours, OTHERS[name])


class Counted(Rows):
    "Remembers how often each row was read, in an array"
    def __init__(self, rows, seen): self.rows, self.seen = rows, seen
    def __getitem__(self, i):
        self.seen[i] += 1
        return super().__getitem__(i)


@pytest.mark.parametrize('make', [lambda: torch.zeros(32), lambda: np.zeros(32)])
def test_small_arrays_of_data_are_saved_where_they_move(tmp_path, make):
    def fit(folder, *cbs):
        learn = fit_rows(folder, DATA, *cbs, data=lambda rows: Counted(rows, make()))
        return learn.dls.train.dataset.seen.tolist()
    straight = fit(tmp_path/'straight')
    with pytest.raises(Stop): fit(tmp_path/'stopped', StopAfter(6))
    state = checkpoint.read_state(checkpoint.newest_first(tmp_path/'stopped')[0])
    cells = state['own'][0]['cells']
    assert 'dls.train.dataset.seen' in cells and 'dls.train.dataset.rows' not in cells
    assert fit(tmp_path/'stopped') == straight


def test_rows_that_are_drawn_are_not_compared(tmp_path):
    class Drawn(Rows):
        def __getitem__(self, i): return self.rows[i] + torch.rand(4), i % 10
    loader = torch.utils.data.DataLoader(Drawn(DATA), 8)
    assert checkpoint.describe_data(DataLoaders(loader, None)) == dict(train=[32, None, None])


def test_describing_data_draws_nothing():
    run = Run('transform', 'torch generator')
    before = run.memories()
    checkpoint.describe_data(run.learn.dls)
    assert run.memories() == before


@pytest.mark.parametrize('field, opt, new', [
    ('lr', partial(torch.optim.SGD), .2), ('weight_decay', partial(torch.optim.SGD, weight_decay=.1), .1),
    ('momentum', partial(torch.optim.SGD, momentum=.5), .5),
    ('nesterov', partial(torch.optim.SGD, nesterov=True, momentum=.9), True)])
def test_other_settings_of_the_optimizer_are_refused_or_accepted(tmp_path, field, opt, new):
    first = partial(torch.optim.SGD, momentum=.9) if field == 'nesterov' else torch.optim.SGD
    with pytest.raises(Stop): fit_rows(tmp_path, DATA, StopAfter(6), opt=first)
    def again(**kw): return fit_rows(tmp_path, DATA, opt=opt, lr=.2 if field == 'lr' else .1, **kw)
    changed = rf"{field} of param group 0: .* there, {new} here.*accept=\['{field}'\]"
    with pytest.raises(ValueError, match=changed): again()
    assert again(accept=[field]).opt.param_groups[0][field] == new


def test_a_callback_more_or_less_is_said(tmp_path):
    said = []
    with pytest.raises(Stop): fit_rows(tmp_path, DATA, StopAfter(6), RecorderCB(), RecorderCB('momentum'))
    learn = fit_rows(tmp_path, DATA, RecorderCB(), MetricsCB(log=silent), log=said.append)
    recorder = next(cb for cb in learn.active if isinstance(cb, RecorderCB))
    assert learn.steps == len(recorder['loss']) == 8
    assert said == ['going on after epoch 1, batch 0', 'MetricsCB is not in the checkpoint: it begins here',
                    'StopAfter of the checkpoint is not in this fit: it is left out',
                    'RecorderCB 1 of the checkpoint is not in this fit: it is left out']


def test_what_cannot_be_saved_is_named(tmp_path):
    class Odd(Callback):
        def __init__(self): self.lines = (line for line in 'ab')
    said = []
    fit_rows(tmp_path, DATA, Odd(), log=said.append)
    assert len(said) == 1 and said[0].startswith('cbs.Odd.lines cannot be saved')


def test_who_opts_out_is_not_saved(tmp_path):
    class Clock(Callback):
        not_state = ('time',)
        def __init__(self): self.time, self.n = 0, 0
        def after_step(self, learn): self.time, self.n = self.time + 1, self.n + 1
    with pytest.raises(Stop): fit_rows(tmp_path, DATA, Clock(), StopAfter(6))
    fit_rows(tmp_path, DATA, clock := Clock())
    assert (clock.time, clock.n) == (3, 8)                              # stopped after 6, saved after 5


def test_wrappers_leave_no_trace_in_names(tmp_path):
    "Neither in the checkpoints nor in best.pt"
    def work():
        store = f'file://{tmp_path}/store'
        torch.distributed.init_process_group('gloo', init_method=store, rank=0, world_size=1)
        model = torch.compile(nn.parallel.DistributedDataParallel(nn.Linear(64, 10)), backend='eager')
        keep = CheckpointCB(tmp_path/'run', best=('valid_loss', min), log=silent)
        Learner(model, digits_dls(), F.cross_entropy).fit(1, cbs=[keep, MetricsCB(log=silent)])
        assert set(torch.load(tmp_path/'run'/'best.pt', weights_only=True)['model']) == {'weight', 'bias'}
        assert stored(tmp_path/'run')['cells'].keys() == {'model.weight', 'model.bias', 'opt'}
    assert end_of(in_process(work)) == 0


def test_values_that_were_not_on_the_cpu_are_kept_apart():
    "What stands in for a GPU is the tag that a file holds of such tensors"
    away = [{'<off cpu>': torch.tensor(float(i))} for i in range(99)]
    back = checkpoint.expanded(checkpoint.compact(dict(vals=away)))['vals']
    assert [list(part) for part in back] == [['<off cpu>']]*99
    assert [part['<off cpu>'].item() for part in back] == list(range(99))
    assert all(t.device.type == 'meta' for t in unpack(back, home='meta'))
