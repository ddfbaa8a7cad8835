"""What a run remembers is put back, whatever holds it and however a fit ends, or comes back from a file."""
import copy
import io
import itertools
import os
import signal
import threading
from collections import OrderedDict, UserDict, defaultdict, deque
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from holders import HOLDERS, KINDS, Run
from torch import nn
from torch.utils.data import DataLoader, Dataset

from cosine_lr import Callback, lr_find
from cosine_lr.run import SavableState
from cosine_lr.interrupt import undisturbed
from cosine_lr.memory import Cell, walk
from cosine_lr.state import State

def crossed(holders=HOLDERS):
    "Holders for a parametrised test; one of each place in the fast tests, all of them in the slow ones."
    def one(place, kind):
        marks = [] if kind == 'counter' else [pytest.mark.slow]
        return pytest.param(place, kind, id=f'{place}-{kind}'.replace(' ', '_'), marks=marks)
    return [one(*holder) for holder in holders]


def made(*holder):
    run = Run(*holder)
    return run, run.memories()


def changed(before, after): return [name for name in before if before[name] != after[name]]


def to_disk(saved):
    "What a file makes of it."
    file = io.BytesIO()
    torch.save(saved, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


class Leave(Callback):
    "Leaves a fit after its 15th step."
    def __init__(self, way): self.way = way
    def after_step(self, learn):
        if learn.steps != 15: return
        if self.way == 'exception': raise ZeroDivisionError('left')
        signal.raise_signal(signal.SIGINT)  # Ctrl-C


def find(run, way):
    "An `lr_find` that ends in one way."
    kw = dict(start=1e-5, stop=.1, steps=20, sweeps=2)
    if way == 'normal': return lr_find(run.learn, **kw)
    run.learn.cbs.append(Leave(way))
    error = ZeroDivisionError if way == 'exception' else KeyboardInterrupt
    with pytest.raises(error): lr_find(run.learn, **kw)
    run.learn.cbs.pop()


@pytest.mark.parametrize('way', ('normal', 'exception', 'ctrl-c'))
@pytest.mark.parametrize('place, kind', crossed())
def test_lr_find_leaves_no_trace_and_later_training_has_the_same_bits(place, kind, way):
    losses, (run, before) = Run(place, kind).fit(2), made(place, kind)
    find(run, way)
    assert changed(before, run.memories()) == []
    assert run.fit(2) == losses and len(losses) == 12


@pytest.mark.parametrize('place, kind', crossed())
def test_the_runs_depend_on_what_they_remember(place, kind):
    "A run whose memory has moved on trains otherwise: else the other tests would show nothing."
    losses, moved = Run(place, kind).fit(1), Run(place, kind)
    moved.holder.use(moved.holder)
    assert losses != moved.fit(1)


class Save(Callback):
    "Saves the state of a run before its third epoch."
    order = -1000
    def __init__(self, run): self.run, self.state = run, None
    def before_epoch(self, learn):
        if not learn.training: return
        if self.state is None: self.state = state_of(self.run).watch()
        if learn.epoch == 2: self.saved = to_disk(self.state.state_dict())


class Load(Callback):
    "Loads it before the first."
    order = -1000
    def __init__(self, run, saved): self.run, self.saved = run, saved
    def before_epoch(self, learn):
        if learn.training and learn.epoch == 0: state_of(self.run).watch().load_state_dict(self.saved)


def state_of(run):
    learn = run.learn
    cbs = {type(cb).__name__: cb for cb in learn.cbs}
    return SavableState(model=run.model, loss=run.loss, opt=learn.opt, dls=learn.dls, cbs=cbs)


@pytest.mark.parametrize('place, kind', crossed([holder for holder in HOLDERS if holder[0] != 'learner']))
def test_a_saved_state_goes_on_in_other_objects(place, kind):
    first = Run(place, kind)
    save = Save(first)
    losses, memories = first.fit(4, cbs=[save]), first.memories()
    second = Run(place, kind, seed=1)
    assert second.fit(2, cbs=[Load(second, save.saved)]) == losses[12:]
    assert changed(memories, second.memories()) == []


# --- optimizers ---

SGD, AdamW = torch.optim.SGD, torch.optim.AdamW
OPTIMIZERS = {
    'momentum': partial(SGD, momentum=.9), 'tensor lr': lambda params, lr: AdamW(params, lr=torch.tensor(lr)),
    'foreach': partial(AdamW, foreach=True), 'fused': partial(AdamW, fused=True),
    'fused tensor lr': lambda params, lr: AdamW(params, lr=torch.tensor(lr), fused=True),
}


class Second(Callback):
    "Trains the last bias with an optimizer of its own, and scales gradients."
    def before_fit(self, learn):
        if hasattr(self, 'opt'): return
        self.opt = torch.optim.Adam([learn.model.body[-1].bias], lr=.1)
        self.scaler = torch.amp.GradScaler('cpu', init_scale=64., growth_interval=3)
    def backward(self, learn): self.scaler.scale(learn.loss).backward()
    def step(self, learn):
        self.scaler.step(learn.opt)
        self.opt.step()
        self.scaler.update()


@pytest.mark.parametrize('way', ('normal', 'exception', 'ctrl-c'))
@pytest.mark.parametrize('name', OPTIMIZERS)
def test_optimizers_go_on_as_if_there_had_been_no_range_test(name, way):
    def train(find_first):
        run = Run(opt_func=OPTIMIZERS[name], cbs=[Second()])
        run.fit(1)  # the second optimizer and the scaler have a past
        if find_first: find(run, way)
        return run.fit(2)
    assert train(False) == train(True)


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_optimizers_go_on_from_a_file(name):
    first = Run(opt_func=OPTIMIZERS[name], cbs=[Second()])
    save = Save(first)
    losses = first.fit(4, cbs=[save])
    second = Run(opt_func=OPTIMIZERS[name], cbs=[Second()], seed=1)
    assert second.fit(2, cbs=[Load(second, save.saved)]) == losses[12:]


def test_loading_keeps_param_groups_and_the_tensors_in_them():
    model = nn.Linear(2, 2)
    old, new = (AdamW(model.parameters(), lr=torch.tensor(lr)) for lr in (.1, .2))
    group, lr = new.param_groups[0], new.param_groups[0]['lr']
    SavableState(opt=new).load_state_dict(to_disk(SavableState(opt=old).state_dict()))
    assert new.param_groups[0] is group and group['lr'] is lr and torch.equal(lr, torch.tensor(.1))


# --- loaders with workers ---

class Noise(Dataset):
    def __len__(self): return 24
    def __getitem__(self, i): return torch.randn(5), i % 3


@pytest.mark.slow
@pytest.mark.parametrize('way', ('normal', 'exception', 'ctrl-c'))
def test_workers_that_wait_are_not_disturbed(way):
    def train(find_first):
        run = Run()
        run.learn.dls.train = DataLoader(Noise(), 8, shuffle=True, num_workers=1, persistent_workers=True)
        run.fit(1)
        if find_first: find(run, way)
        return run.fit(2)
    assert train(False) == train(True)


# --- what the walk meets, and what it does not ---

def paths(**roots): return [cell.path for cell in walk([Cell(name, x) for name, x in roots.items()], {})]


def put_back_after(change, **roots):
    state = State(**roots).capture()
    change()
    state.put_back()
    return state


def test_rows_are_not_copied():
    class Big(Dataset):
        def __init__(self): self.x, self.rows, self.n = torch.zeros(10**6), [[0.]*8]*2000, 0
        def __len__(self): return 10
        def __getitem__(self, i): return self.x[i]
    data = Big()
    state = State(dls=SimpleNamespace(train=DataLoader(data), lists=[[torch.zeros(10**5)]*2])).capture()
    kept = [part for _, _, put in state._kept for part in put.args if isinstance(part, torch.Tensor)]
    size = sum(part.numel() for part in kept)
    assert size < 10**4
    data.n = 5
    state.put_back()
    assert data.n == 0


def test_a_model_inside_a_data_set_is_put_back_all_the_same():
    model = nn.Linear(50, 50)  # more entries than a thousand
    dls = SimpleNamespace(train=[SimpleNamespace(teacher=model)])
    before = model.weight.clone()
    put_back_after(lambda: model.weight.data.zero_(), model=model, dls=dls)
    assert torch.equal(before, model.weight)


def test_collections_of_all_kinds_keep_their_entries_and_their_order():
    things = [[1], {2}, deque([3], maxlen=2), OrderedDict(a=1, b=2), defaultdict(list, c=[4]), UserDict(d=5),
              SimpleNamespace(e=6)]
    texts = list(map(repr, things))
    def change():
        a_list, a_set, a_deque, ordered, default, user, namespace = things
        a_list.append(2)
        a_set.clear()
        a_deque.extend([4, 5])
        ordered.move_to_end('a')
        default['d'].append(default['c'].pop())
        user['d'], namespace.e, namespace.f = 0, 0, 0
    kept = list(things)
    put_back_after(change, x=things)
    assert list(map(repr, things)) == texts and all(a is b for a, b in zip(things, kept))


def test_what_holds_others_is_walked_through():
    inner = SimpleNamespace(n=0)
    class Bound:
        def __init__(self): self.inner = inner
        def method(self): pass
    holders = [partial(print, inner), partial(print, key=inner), Bound().method, (1, (inner,))]
    for holder in (*holders, UserDict(a=[inner])):
        put_back_after(lambda: setattr(inner, 'n', 1), x=holder)
        assert inner.n == 0


def test_resources_are_left_alone_and_what_cannot_be_put_back_is_named(tmp_path):
    with open(tmp_path/'log', 'w') as file:
        harmless = dict(lock=threading.Lock(), thread=threading.Thread(), module=os, function=print, kind=int,
                        fixed=frozenset([1]))
        lost = dict(file=file, batches=iter([1]), count=itertools.count(), lines=(line for line in 'ab'))
        holder = SimpleNamespace(**harmless, **lost)
        state = State(x=holder).capture()
    assert set(state.left_out) == {'x.file', 'x.batches', 'x.count', 'x.lines'}
    assert SavableState(x=holder).state_dict() and state.left_out['x.batches'] == 'list_iterator'


def test_classes_can_opt_out():
    class Out:
        not_state = True
        def __init__(self): self.n = 0
    class Partly:
        not_state = ('log',)
        def __init__(self): self.log, self.n = 0, 0
    out, partly = Out(), Partly()
    def change(): out.n, partly.log, partly.n = 1, 1, 1
    put_back_after(change, x=[out, partly])
    assert (out.n, partly.log, partly.n) == (1, 1, 0)
    assert not any(path.endswith(('log', 'x.0.n')) for path in SavableState(x=[out, partly]).entries())


def test_wrappers_of_torch_add_no_name_and_scripts_are_met():
    plain = nn.Sequential(nn.Linear(2, 2))
    names = [path for path in paths(model=plain) if path.endswith(('weight', 'bias'))]
    parallel = nn.DataParallel(plain)
    for wrapped in (torch.compile(plain), parallel, torch.compile(parallel), torch.jit.script(plain)):
        assert [path for path in paths(model=wrapped) if path.endswith(('weight', 'bias'))] == names


def test_odd_tensors():
    base = torch.zeros(3)
    odd = dict(expanded=torch.zeros(1).expand(4), view=base[1:], sparse=torch.eye(2).to_sparse(),
               empty=torch.zeros(0), whole=torch.arange(3), half=torch.ones(2, dtype=torch.bfloat16),
               complex=torch.ones(2, dtype=torch.complex64), transposed=torch.ones(2, 3).T)
    before = {name: t.clone() for name, t in odd.items()}
    def change():
        base.fill_(5)
        for name in ('whole', 'half', 'complex', 'transposed'): odd[name].mul_(0)
        odd['expanded'][:1].narrow(0, 0, 1).add_(1)
    put_back_after(change, x=odd)
    assert all(torch.equal(odd[name].to_dense(), t.to_dense()) for name, t in before.items())
    assert not base[1:].any()


def test_depth_and_circles():
    node = first = SimpleNamespace(n=0, next=None)
    for _ in range(5000): node.next = node = SimpleNamespace(n=0, next=None)
    node.next = first
    put_back_after(lambda: setattr(node, 'n', 1), x=first)
    assert node.n == 0


def test_a_failure_while_putting_back_does_not_stop_the_rest():
    class Stubborn(dict):
        def clear(self): raise RuntimeError('mine')
    things = SimpleNamespace(a=Stubborn(), b=[])
    state = State(x=things).capture()
    things.a['k'] = 1
    things.b.append(1)
    with pytest.raises(RuntimeError, match=r'could not put back x\.a'): state.put_back()
    assert things.b == []


# --- interrupts ---

def test_interrupts_while_putting_back_come_when_all_is_back():
    class Hit(dict):
        def clear(self):
            signal.raise_signal(signal.SIGINT)
            super().clear()
    things = [Hit(a=0), [], Hit(a=0), []]
    def change(): things[0].pop('a'), things[1].append(1), things[2].pop('a'), things[3].append(1)
    with pytest.raises(KeyboardInterrupt): put_back_after(change, x=things)
    assert things == [dict(a=0), [], dict(a=0), []]


def test_the_users_own_handler_of_ctrl_c_is_called():
    heard, before = [], signal.signal(signal.SIGINT, lambda *_: heard.append('mine'))
    try:
        with undisturbed():
            signal.raise_signal(signal.SIGINT)
            assert heard == []
        assert heard == ['mine']
    finally: signal.signal(signal.SIGINT, before)


def test_threads_can_put_back():
    things, failed = [], []
    def work():
        try: put_back_after(lambda: things.append(1), x=things)
        except Exception as e: failed.append(e)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert things == [] and failed == []


# --- files ---

class Late(nn.Linear):
    "Makes a cache and a count when it is first used."
    def __init__(self): super().__init__(2, 2)
    def forward(self, x):
        self.used = getattr(self, 'used', 0) + 1
        self.cache = x.detach()
        return super().forward(x)


def test_attributes_that_are_born_in_the_run_are_made_again():
    first, second = Late(), Late()
    states = [SavableState(model=model).watch() for model in (first, second)]
    first(torch.ones(1, 2))
    states[1].load_state_dict(to_disk(states[0].state_dict()))
    assert second.used == 1 and torch.equal(second.cache, torch.ones(1, 2))


@pytest.mark.parametrize('kind', KINDS)
def test_an_attribute_with_a_new_name_is_named(kind):
    def holder(name):
        start, use = KINDS[kind]
        run = SimpleNamespace(memory=start())
        state = SavableState(x=run).watch()
        use(run)
        if name == 'memory': return state
        setattr(run, name, vars(run).pop('memory'))
        return SavableState(x=run).watch()
    saved = to_disk(holder('memory').state_dict())
    with pytest.raises(ValueError, match=r'x\.memory\S* is there, and not here'):
        holder('renamed').load_state_dict(saved)


def test_settings_are_the_new_ones_and_counters_the_old():
    def waiting(patience): return SimpleNamespace(patience=patience, waited=0, steps=[1, 2], seen=[])
    old, new = waiting(3), waiting(5)
    first, second = SavableState(x=old).watch(), SavableState(x=new).watch()
    old.waited, old.seen = 2, [7]
    second.load_state_dict(to_disk(first.state_dict()))
    assert new == SimpleNamespace(patience=5, waited=2, steps=[1, 2], seen=[7])
    now = second.settings
    assert [path for path, value in first.settings.items() if now[path] != value] == ['x.patience']


def test_a_counter_that_had_not_moved_is_put_back_to_where_it_began():
    old, new = SimpleNamespace(n=0, seen=[]), SimpleNamespace(n=0, seen=[])
    saved, state = SavableState(x=old).watch().state_dict(), SavableState(x=new).watch()
    new.n = 3  # what the new process does before it loads
    new.seen.append(1)
    state.load_state_dict(to_disk(saved))
    assert new == SimpleNamespace(n=0, seen=[])


def test_what_cannot_be_saved_is_named():
    state = SavableState(x=SimpleNamespace(words=np.array(['a', None], dtype=object), batches=iter([1])))
    assert not any('words' in path for path in state.state_dict()['cells'])
    assert state.left_out.keys() == {'x.words', 'x.batches'}


def test_nothing_changes_where_something_does_not_fit():
    saved = SavableState(model=nn.Linear(2, 3), n=SimpleNamespace(k=1)).state_dict()
    model = nn.Linear(2, 2)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r'model.weight is \[3, 2\] torch.float32 there, and \[2, 2\]'):
        SavableState(model=model, n=SimpleNamespace(k=0)).load_state_dict(saved)
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_tensors_go_to_the_device_of_what_stands_there():
    "The device 'meta' stands in for an accelerator: it has no content, but a place."
    def holder(n, device):
        return SimpleNamespace(a=torch.ones(2, device=device), list=[torch.ones(1, device=device)]*n)
    saved = to_disk(SavableState(x=holder(2, 'cpu')).state_dict())
    here = holder(1, 'meta')
    SavableState(x=here).load_state_dict(saved)
    assert here.a.is_meta and here.list[0].is_meta and len(here.list) == 2
    here = holder(0, 'meta')
    SavableState(x=here).load_state_dict(SavableState(x=holder(2, 'meta')).state_dict())
    assert [t.is_meta for t in here.list] == [True, True]  # nothing stood there: where the other tensors are


def test_gradients_are_saved_if_wanted():
    model, other = nn.Linear(2, 1), nn.Linear(2, 1)
    model(torch.ones(1, 2)).sum().backward()
    other(torch.zeros(1, 2)).sum().backward()
    SavableState(model=other).load_state_dict(to_disk(SavableState(model=model).state_dict(grads=True)))
    assert torch.equal(other.weight.grad, model.weight.grad)
    SavableState(model=other).load_state_dict(to_disk(SavableState(model=model).state_dict()))
    assert other.weight.grad is None


def test_a_single_name_opts_out_too():
    class Single:
        not_state = 'log'
        def __init__(self): self.log, self.l = 0, 0
    x = Single()
    def change(): x.log, x.l = 1, 1
    put_back_after(change, x=x)
    assert (x.log, x.l) == (1, 0)
