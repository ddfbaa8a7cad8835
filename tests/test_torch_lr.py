"""ScheduleLR where a reader of 11_torch does not look: arguments, tensors, resuming, other schedulers."""
import copy
import io
import json
import pickle
import warnings

import numpy as np
import pytest
import torch
from cosine_lr import ScheduleLR, constant, cosine, exponential, join, linear, warmup_cosine
from cosine_lr.clock import position
from cosine_lr.recipes import restarts
from torch import nn
from torch.optim import lr_scheduler as tl

T = torch.tensor
pytestmark = pytest.mark.filterwarnings('ignore:.* past the end of a plan')


def optimizer(n=1, kind=torch.optim.SGD, **kw):
    return kind([dict(params=[nn.Parameter(torch.zeros(2))]) for _ in range(n)], **dict(lr=.1) | kw)


def lrs(sched, steps):
    "The rates that `steps` optimizer steps use, one scheduler step after each"
    used = []
    for _ in range(steps):
        used.append(float(sched.optimizer.param_groups[0]['lr']))
        sched.optimizer.step()
        sched.step()
    return used


def warned(call):
    "How many warnings a call gives"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        call()
    return len(caught)


# --- arguments ---

@pytest.mark.parametrize('wrong', [
    dict(total_steps=0), dict(total_steps=2.5), dict(total_steps='10'), dict(total_steps=True),
    dict(end='last'), dict(after='stop'), dict(on_resume='guess'), dict(last_epoch=-2),
    dict(after='repeat', on_resume='stretch'), dict(momentum=[cosine()]*2), dict(beta=cosine())])
def test_wrong_arguments_are_refused_and_leave_the_optimizer_alone(wrong):
    opt = optimizer()
    with pytest.raises(ValueError): ScheduleLR(opt, **dict(lr=cosine(), total_steps=10) | wrong)
    assert opt.param_groups[0]['lr'] == .1


def test_numpy_numbers_are_saved_as_plain_ones():
    sched = ScheduleLR(optimizer(), lr=cosine(), total_steps=np.int64(100), last_epoch=np.int64(2))
    sched.step(np.int64(5))
    assert json.loads(json.dumps(sched.state_dict()))['last_epoch'] == 5


def test_it_prints_its_schedules():
    sched = ScheduleLR(optimizer(), lr=3e-4*warmup_cosine(), total_steps=100)
    assert '0.0003 * join([linear(0, 1), cosine(1, 0)], at=[0.05])' in repr(sched)


def test_a_milestone_at_0_is_refused(): # torch's skipped a scheduler, for years
    with pytest.raises(ValueError): join([linear(0, 1), cosine()], at=[0])


# --- fields and tensors ---

def betas(pos): return cosine(.95, .85)(pos), .99


def test_every_field_is_written_in_place_for_each_group():
    kinds = dict(lr=T(.1), betas=(T(.9), T(.99)), weight_decay=T(.01), eps=T(1e-8))
    opt = optimizer(2, torch.optim.AdamW, **kinds)
    def tensors(group): return group['lr'], *group['betas'], group['weight_decay'], group['eps']
    def storages(): return [t.data_ptr() for group in opt.param_groups for t in tensors(group)]
    scheds = dict(lr=[.1*cosine(), .2*cosine()], betas=betas, weight_decay=linear(.1, 0), eps=constant(1e-6))
    sched = ScheduleLR(opt, **scheds, total_steps=10)
    before = storages()
    for step in range(1, 11):
        sched.step()
        for i, group in enumerate(opt.param_groups):
            want = {field: values[i] for field, values in sched.at(step).items()}
            assert list(tensors(group)) == [T(x) for x in tensors(want)]
    assert storages() == before and opt.param_groups[0]['lr'] is not opt.param_groups[1]['lr']
    assert sched.at(5)['lr'] == [.05, .1] and len(sched.plot('betas').lines) == 4 # two groups, two betas
    state = json.loads(json.dumps(sched.state_dict())) # plain numbers, tuples too
    for group in opt.param_groups: group['betas'][0].fill_(0)
    sched.load_state_dict(state)
    assert storages() == before and opt.param_groups[1]['betas'][0] == T(.85)


def test_a_tensor_of_the_caller_stays_as_it_is():
    mine = T(.1)
    sched = ScheduleLR(optimizer(lr=mine), lr=.1*cosine(), total_steps=10)
    lrs(sched, 6)
    assert mine == T(.1) != sched.optimizer.param_groups[0]['lr']


def test_a_list_of_schedules_refuses_a_group_that_comes_later():
    listed = ScheduleLR(optimizer(2), lr=[cosine(), linear()], total_steps=5)
    listed.optimizer.add_param_group(dict(params=[nn.Parameter(torch.zeros(1))]))
    with pytest.raises(ValueError): listed.step()
    assert listed.last_epoch == 0 # nothing moved


def test_a_group_that_comes_later_follows_at_the_next_step():
    opt = optimizer()
    sched = ScheduleLR(opt, lr=.02*linear(), total_steps=5)
    lrs(sched, 5)
    opt.add_param_group(dict(params=[nn.Parameter(torch.zeros(1))], lr=7.))
    assert opt.param_groups[1]['lr'] == 7
    sched.step()
    assert [group['lr'] for group in opt.param_groups] == sched.at(6)['lr'] == [0, 0]


# --- past the end ---

@pytest.mark.parametrize('end', ['open', 'closed'])
def test_a_plan_of_one_step(end):
    assert lrs(ScheduleLR(optimizer(), lr=.1*cosine(), total_steps=1, end=end), 3) == [.1, 0, 0]


@pytest.mark.filterwarnings('default')
def test_steps_past_the_end_are_told_once():
    sched = ScheduleLR(optimizer(), lr=.1*cosine(), total_steps=4)
    assert warned(lambda: lrs(sched, 4)) == 0 # the call after the last batch is expected
    assert warned(lambda: lrs(sched, 4)) == 1


# --- resuming ---

def resumed(policy, state, total, lr=.1*cosine(), **kw):
    sched = ScheduleLR(optimizer(), lr=lr, total_steps=total, on_resume=policy, **kw)
    sched.load_state_dict(state)
    return sched


@pytest.fixture
def stopped():
    "The state of a run of 100 steps at step 50"
    sched = ScheduleLR(optimizer(), lr=.1*cosine(), total_steps=100)
    lrs(sched, 50)
    return json.loads(json.dumps(sched.state_dict()))


def test_what_is_no_state_is_refused():
    for wrong in (None, tl.CosineAnnealingLR(optimizer(), T_max=10).state_dict()):
        with pytest.raises(ValueError): resumed('keep', wrong, 10)


@pytest.mark.parametrize('policy', ['stretch', 'cooldown'])
def test_a_resumed_run_is_resumed_again_by_the_same_script(stopped, policy):
    rest = lrs(resumed(policy, stopped, 160), 111)
    again = resumed(policy, stopped, 160)
    lrs(again, 30)
    assert lrs(resumed('raise', again.state_dict(), 160), 81) == lrs(again, 81) == rest[30:]


def test_a_cooldown_that_is_stretched_is_a_longer_cooldown(stopped):
    cooling = resumed('cooldown', stopped, 160)
    lrs(cooling, 30)
    longer = resumed('stretch', cooling.state_dict(), 200)
    assert np.allclose(lrs(longer, 121), cooling.get_last_lr()[0]*np.linspace(1, 0, 121), rtol=0, atol=1e-16)


def test_a_run_at_its_end():
    done = ScheduleLR(optimizer(), lr=.1*cosine(.9, .1), total_steps=10)
    lrs(done, 10)
    state = done.state_dict()
    assert set(lrs(resumed('stretch', state, 20, .1*cosine(.9, .1)), 10)) == {.1*.1}
    assert lrs(resumed('extend', state, 20), 10) == [.1*cosine()(s/20) for s in range(10, 20)]
    assert lrs(resumed('restart', state, 20), 10) == [.1*cosine()(s/10) for s in range(10)]
    for policy in ('stretch', 'cooldown', 'extend', 'restart'): # none can when no steps are left
        with pytest.raises(ValueError): resumed(policy, state, 10, cosine())


def parts(opt): return [(group['lr'], group['momentum']) for group in opt.param_groups]


def two_fields(opt, **kw):
    return ScheduleLR(opt, lr=.1*restarts(3, growth=2), momentum=cosine(.95, .85), total_steps=70, **kw)


def rest(sched): return [(parts(sched.optimizer), sched.optimizer.step(), sched.step()) for _ in range(60)]


def test_any_order_of_loads_and_any_copy_goes_on_alike():
    trained = two_fields(optimizer(2))
    lrs(trained, 10) # step 10 is a restart
    kept, o_state, s_state = copy.deepcopy(trained), trained.optimizer.state_dict(), trained.state_dict()
    want = rest(trained)
    assert want[0][0][0] == (.1, cosine(.95, .85)(10/70))
    for order in ('opt make load', 'make opt load', 'make load opt'):
        opt, sched = optimizer(2), None
        for action in order.split():
            if action == 'opt': opt.load_state_dict(o_state)
            if action == 'make': sched = two_fields(opt)
            if action == 'load': sched.load_state_dict(s_state)
        assert rest(sched) == want, order
    assert rest(kept) == want
    at_10 = two_fields(optimizer(2), last_epoch=9)
    assert rest(pickle.loads(pickle.dumps(at_10))) == rest(at_10) == want
    file = io.BytesIO()
    torch.save(s_state, file)
    assert torch.load(io.BytesIO(file.getvalue()), weights_only=True) == s_state


def test_a_state_is_right_though_a_second_scheduler_wrote_to_the_optimizer():
    opt = optimizer()
    first = ScheduleLR(opt, lr=.1*cosine(), total_steps=10)
    lrs(first, 6)
    second = ScheduleLR(opt, lr=.1*cosine(), total_steps=10) # writes the values of step 0
    assert opt.param_groups[0]['lr'] == .1
    second.load_state_dict(first.state_dict())
    assert second.get_last_lr() == [opt.param_groups[0]['lr']] == [.1*cosine()(.6)]


def test_random_plans_stay_within_bounds_do_not_jump_and_reach_their_end():
    rng = np.random.default_rng(0)
    for _ in range(300):
        at = sorted(rng.uniform(.01, .99, 2).tolist())
        curve = join([shape(*rng.uniform(0, 1, 2).tolist()) for shape in (linear, cosine, linear)], at=at)
        low, high = curve(np.linspace(0, 1, 2001)).min(), curve(np.linspace(0, 1, 2001)).max()
        old_T, new_T = rng.integers(2, 200, 2).tolist()
        end, policy = rng.choice(['open', 'closed']).item(), rng.choice(['stretch', 'cooldown']).item()
        sched = ScheduleLR(optimizer(), lr=curve, total_steps=old_T, end=end)
        lrs(sched, int(rng.integers(0, min(old_T, new_T))))
        here = sched.get_last_lr()[0]
        new = resumed(policy, sched.state_dict(), new_T, curve, end=end)
        assert new.get_last_lr()[0] == here and new.last_epoch == sched.last_epoch
        values = lrs(new, new_T - new.last_epoch + 3)
        assert low - .02 <= min(values) and max(values) <= high + .02
        assert np.allclose(values[-3:], curve(1.))


# --- beside other schedulers ---

def test_a_chained_exponential_forgets_its_past(): # so write lr=.1*cosine()*exponential(1, .5**5)
    opt = optimizer()
    pair = [ScheduleLR(opt, lr=.1*cosine(), total_steps=5), tl.ExponentialLR(opt, .5)]
    chained = lrs(tl.ChainedScheduler(pair, opt), 4)
    assert np.allclose(chained[1:], [.5*.1*cosine()(s/5) for s in (1, 2, 3)])
    product = ScheduleLR(optimizer(), lr=.1*cosine()*exponential(1, .5**5), total_steps=5)
    assert np.allclose(lrs(product, 4), [.5**s*.1*cosine()(s/5) for s in range(4)])


def sequence(opt):
    warm = ScheduleLR(opt, lr=.1*linear(0, 1), total_steps=3)
    ours = ScheduleLR(opt, lr=.1*cosine(), total_steps=6, after='repeat')
    return tl.SequentialLR(opt, [warm, ours, tl.ExponentialLR(opt, .5)], [3, 9])


@pytest.mark.parametrize('stop', range(1, 15))
def test_a_sequence_is_resumed_at_any_step(stop):
    entire = sequence(optimizer())
    lrs(entire, stop)
    o_state, s_state = copy.deepcopy((entire.optimizer.state_dict(), entire.state_dict()))
    opt = optimizer()
    opt.load_state_dict(o_state)
    part = sequence(opt)
    part.load_state_dict(s_state)
    assert opt.param_groups[0]['lr'] == entire.optimizer.param_groups[0]['lr']
    assert lrs(part, 6) == lrs(entire, 6)


def test_a_wrapper_around_the_optimizer_gives_no_warning():
    wrapped = ScheduleLR(optimizer(), lr=cosine(), total_steps=10)
    wrapped.optimizer.step = lambda: None
    assert warned(wrapped.step) == 0


def test_ignites_wrapper_calls_get_lr_and_counts_itself():
    opt = optimizer()
    sched = ScheduleLR(opt, lr=.1*cosine(), momentum=linear(.9, .8), total_steps=10)
    for step in range(5):
        sched._get_lr_called_within_step = True
        assert sched.get_lr() == [.1*cosine()(step/10)]
        assert opt.param_groups[0]['momentum'] == linear(.9, .8)(step/10)
        sched.last_epoch += 1


def test_plans_are_those_of_a_join_at_every_depth():
    deep = join([linear(0, 1), join([cosine(), restarts(2)], at=[.5])], at=[.2])
    assert lrs(ScheduleLR(optimizer(), lr=deep, total_steps=50), 50) == [deep(s/50) for s in range(50)]


def test_a_step_by_position():
    sched = ScheduleLR(optimizer(), lr=.1*cosine(), total_steps=160)
    sched.step(50)
    assert np.array_equal(lrs(sched, 111), .1*cosine()(position(np.arange(50, 161), 160)))
