"""Properties that hold for every schedule, tried on many made at random."""
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cosine_lr import *
from cosine_lr.learner import Learner
from cosine_lr.view.lint import lint_schedule
from cosine_lr.schedule import Ramp
from cosine_lr.shapes import *

settings.register_profile('project', deadline=None, derandomize=True, max_examples=150)
settings.load_profile('project')

value = st.floats(-1e3, 1e3, allow_subnormal=False) | st.integers(-1000, 1000)
above = st.floats(1e-3, 1e3)
fraction = st.integers(1, 999).map(lambda k: k/1000)
ramps = st.builds(linear, value, value) | st.builds(cosine, value, value) | st.builds(polynomial, value, value, st.floats(.1, 9)) \
    | st.builds(one_minus_sqrt, value, value) | st.builds(rex, value, value) | st.builds(k_decay, value, value, st.floats(.1, 9))
shapes = ramps | st.builds(constant, value) | st.builds(exponential, above, above) | st.builds(tanh, value, value) | st.builds(inverse_sqrt, above)


def joins(scheds):
    return st.lists(st.tuples(fraction, scheds), min_size=1, max_size=4, unique_by=lambda pair: pair[0]).flatmap(
        lambda pairs: scheds.map(lambda last: join([s for _, s in sorted(pairs, key=lambda p: p[0])] + [last], at=sorted(a for a, _ in pairs))))


schedules = st.recursive(shapes, lambda s: joins(s) | st.builds(lambda a, b: a + b, s, s | value) | st.builds(lambda a, b: a * b, value | s, s), max_leaves=6)
positions = st.lists(st.floats(0, 1), min_size=1, max_size=20)
GRID = np.linspace(0, 1, 301)
exported = cosine()


@given(schedules)
def test_a_schedule_is_a_value(s):
    for again in (eval(repr(s)), Schedule.from_json(s.to_json()), pickle.loads(pickle.dumps(s))):
        assert again == s and hash(again) == hash(s) and again(.3) == s(.3)


@given(schedules, positions)
def test_floats_arrays_and_tensors_agree(s, positions):
    one_by_one = np.array([s(p) for p in positions])
    scale = max(np.abs([s(p) for p in GRID.tolist()]).max(), np.abs(one_by_one).max(), 1.)
    assert np.abs(s(np.array(positions)) - one_by_one).max() <= 1e-9*scale
    ours = s(torch.tensor(positions, dtype=torch.float64))
    assert ours.dtype == torch.float64 and np.abs(ours.numpy() - one_by_one).max() <= 1e-9*scale
    assert s(np.float32(positions[0:1])).dtype == np.float32
    assert np.shape(zero_d := s(np.array(positions[0]))) == () and abs(zero_d - one_by_one[0]) <= 1e-9*scale
    assert np.isnan(s(np.array([math.nan]))).all() and s(torch.tensor([math.nan])).isnan().all()


@given(schedules, st.floats(0, 1e6))
def test_it_holds_outside(s, far):
    assert s(1 + far) == s(1) and s(-far) == s(0)


@given(ramps)
def test_a_ramp_stays_between_its_ends(s):
    low, high = sorted((s.start, s.end))
    slack = 1e-12*max(abs(low), abs(high))
    assert (s(0), s(1)) == (s.start, s.end) and low - slack <= s(GRID).min() and s(GRID).max() <= high + slack


@given(joins(shapes))
def test_at_a_boundary_the_next_piece_begins(s):
    for piece, at in zip(s.scheds[1:], s.at): assert s(at) == piece(0.)


@given(shapes, shapes, shapes, fraction, fraction)
def test_nested_joins_are_flat_joins(a, b, c, x, y):
    outer, inner = sorted((x, y)) if x != y else (x, (x + 1)/2)
    local = (inner - outer)/(1 - outer)
    nested, flat = join([a, join([b, c], at=[local])], at=[outer]), join([a, b, c], at=[outer, inner])
    away = GRID[np.abs(GRID - inner) > 1e-6]   # at the boundary itself rounding may pick either piece
    assert np.allclose(nested(away), flat(away), rtol=1e-6, atol=1e-6)


@given(schedules, st.integers(2, 10_000))
def test_the_ends_are_where_they_are_said_to_be(s, total):
    assert s(position(total-1, total, end='closed')) == s(1.) and s(position(total-1, total)) == s((total-1)/total)
    assert s(position(total, total)) == s(1.) and s(position(total, total, after='repeat')) == s(0.)


def test_a_shape_of_ones_own_is_not_taken_for_ours():
    class cosine(Ramp):
        def weight(self, t): return (1-t)**3
    ours, own = Schedule.from_json(exported.to_json()), cosine()
    assert ours(.25) == exported(.25) != own(.25) == Schedule.from_json(own.to_json())(.25)
    with pytest.raises(ValueError, match='no words for the shape .*cosine'): own.to('torch', 10)
    class cosine(Ramp): # the cell is run again
        def weight(self, t): return (1-t)**2
    assert Schedule.from_json(own.to_json())(.5) == .25


@pytest.mark.parametrize('lr', [torch.tensor([.1, .2]), np.array([.1, .2]), '.1', .1j, -1., math.inf, 10**400],
                         ids=['tensor', 'array', 'text', 'complex', 'negative', 'infinite', 'huge'])
def test_a_rate_is_one_number(lr):
    with pytest.raises(ValueError, match='lr must be a finite number'): Plan(torch.optim.SGD([torch.zeros(1)]), 10, lr=lambda pos: lr)


@given(st.integers(1, 10), st.integers(1, 12), st.integers(2, 5))
def test_no_restart_misses_its_peak(growth, first, cycles):
    lengths = [first*growth**i for i in range(cycles)]
    begins, total = np.cumsum([0, *lengths[:-1]]), sum(lengths)
    s = restarts(cycles, growth=growth)
    assert all(s(position(int(b), total)) == 1 for b in begins)
    assert (s(position(begins, total)) == 1).all()


@given(st.integers(2, 60), st.integers(2, 5), st.integers(1, 59))
def test_no_restart_behind_a_warmup_misses_its_peak(length, cycles, warm):
    total = warm + length*cycles
    s = warmup(restarts(cycles), warm=warm/total)
    steps = warm + length*np.arange(cycles)
    assert all(s(position(int(step), total)) > .999999 for step in steps)
    assert (s(position(steps, total)) > .999999).all()


nonsense = st.none() | st.booleans() | st.text(max_size=3) | st.floats() | st.integers() | st.complex_numbers() | st.just([]) | st.just([1, 'a']) \
    | st.just({}) | st.just(10**400) | st.just(torch.zeros(2)) | st.just(np.zeros(2)) | st.just(cosine) | st.just(linear()) | st.just([linear(), None])
makers = {constant: 1, linear: 2, cosine: 2, polynomial: 3, exponential: 2, join: 2, warmup: 3, warmup_cosine: 3, wsd: 3, flat_cos: 1, one_cycle: 3,
          three_phase: 3, restarts: 4, triangular: 3, multistep: 2, noisy: 4, one_minus_sqrt: 2, rex: 2, k_decay: 3, tanh: 4, inverse_sqrt: 1, noam: 1, position: 4}


@pytest.mark.parametrize('make', makers, ids=lambda make: make.__name__)
@given(st.data())
def test_nonsense_is_refused_with_a_value_error(make, data):
    args = [data.draw(nonsense) for _ in range(makers[make])]
    try: made = make(*args)
    except ValueError: return
    if isinstance(made, Schedule): made(.5), repr(made), made.to_json()


@given(nonsense | st.text(), nonsense)
def test_nonsense_text_library_and_lint(text, other):
    for call in (lambda: Schedule.from_json(text), lambda: cosine().to(other, 10), lambda: cosine().to('torch', other), lambda: lint_schedule(cosine(), other),
                 lambda: lint_schedule(cosine(), 10, stepped=other), lambda: lint_schedule(cosine(), 10, num_processes=other)):
        try: call()
        except ValueError: pass


@given(st.dictionaries(st.sampled_from(['lr', 'momentum', 'mom']), nonsense, max_size=2), nonsense)
def test_nonsense_in_a_binder(scheds, end):
    learn = Learner(torch.nn.Linear(64, 10), digits_dls(bs=600), torch.nn.functional.cross_entropy)
    try: learn.fit(1, cbs=[ScheduleCB(end=end, **scheds)])
    except ValueError: pass


@pytest.mark.parametrize('sched', [0.1*warmup_cosine(), one_cycle(), wsd(), restarts(3, growth=2), noam(), 1 - 0.5*rex(), tanh()*k_decay(),
                                   multistep(at=[.1 + .2]), join([linear(0, 1), join([cosine(), one_minus_sqrt()], at=[.5])], at=[.2])])
def test_the_torch_translation_is_the_same_function(sched):
    opt, steps = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=.1), 70
    scope = dict(optimizer=opt)
    exec(sched.to('torch', steps), scope)
    for step in range(steps + 20):
        assert math.isclose(opt.param_groups[0]['lr'], sched(step/steps), rel_tol=1e-12, abs_tol=1e-15)
        opt.step()
        scope['scheduler'].step()
