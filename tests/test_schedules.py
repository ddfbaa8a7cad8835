"""Properties that hold for every schedule, tried on many made at random."""
import copy
import functools
import itertools
import math
import pickle
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cosine_lr import *
from cosine_lr.learner import Learner
from cosine_lr.plan import Plan
from cosine_lr.schedule import Ramp
from cosine_lr.shapes import *
from cosine_lr.view.elsewhere import per_step
from cosine_lr.view.lint import lint_schedule
from cosine_lr.view.stored import _vocabulary, from_code
from cosine_lr.view.translate import overlay, translate

settings.register_profile('project', deadline=None, derandomize=True, max_examples=150)
settings.load_profile('project')

value = st.floats(-1e3, 1e3, allow_subnormal=False) | st.integers(-1000, 1000)
above = st.floats(1e-3, 1e3)
powers = st.floats(.1, 9)
fraction = st.integers(1, 999).map(lambda k: k/1000)
plain_ramps = [st.builds(shape, value, value) for shape in (linear, cosine, one_minus_sqrt, rex)]
bent_ramps = [st.builds(shape, value, value, powers) for shape in (polynomial, k_decay, power)]
ramps = st.one_of(*plain_ramps, *bent_ramps)
others = [st.builds(constant, value), st.builds(exponential, above, above), st.builds(tanh, value, value),
          st.builds(inverse_sqrt, above)]
shapes = st.one_of(ramps, *others)


def joins(scheds):
    pairs = st.lists(st.tuples(fraction, scheds), min_size=1, max_size=4, unique_by=lambda pair: pair[0])
    return st.builds(joined, pairs, scheds)


def joined(pairs, last):
    pairs = sorted(pairs, key=lambda pair: pair[0])
    return join([sched for _, sched in pairs] + [last], at=[at for at, _ in pairs])


def combined(scheds):
    return st.one_of(joins(scheds), st.builds(lambda a, b: a + b, scheds, scheds | value),
                     st.builds(lambda a, b: a * b, value | scheds, scheds))


schedules = st.recursive(shapes, combined, max_leaves=6)
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
    assert s(position(total-1, total, end='closed')) == s(1.)
    assert s(position(total-1, total)) == s((total-1)/total)
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


rates = {'tensor': torch.tensor([.1, .2]), 'array': np.array([.1, .2]), 'text': '.1', 'complex': .1j,
         'negative': -1., 'infinite': math.inf, 'huge': 10**400}


@pytest.mark.parametrize('lr', rates.values(), ids=rates.keys())
def test_a_rate_is_one_number(lr):
    with pytest.raises(ValueError, match='lr must be a finite number'):
        Plan(torch.optim.SGD([torch.zeros(1)]), 10, lr=lambda pos: lr)


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


odd_things = [[], [1, 'a'], {}, 10**400, torch.zeros(2), np.zeros(2), np.float32(.5), np.int64(3), cosine,
              linear(), [linear(), None]]
nonsense = st.one_of(st.none(), st.booleans(), st.text(max_size=3), st.floats(), st.integers(),
                     st.complex_numbers(), st.sampled_from(odd_things))
makers = { # how many arguments
    constant: 1, linear: 2, cosine: 2, polynomial: 3, exponential: 2, join: 2, warmup: 3, warmup_cosine: 3,
    wsd: 3, flat_cos: 1, one_cycle: 3, three_phase: 3, restarts: 4, triangular: 3, multistep: 2, noisy: 4,
    one_minus_sqrt: 2, rex: 2, k_decay: 3, tanh: 4, inverse_sqrt: 1, noam: 1, position: 4,
}


@pytest.mark.parametrize('make', makers, ids=lambda make: make.__name__)
@given(st.data())
def test_nonsense_is_refused_with_a_value_error(make, data):
    args = [data.draw(nonsense) for _ in range(makers[make])]
    try: made = make(*args)
    except ValueError: return
    if isinstance(made, Schedule): made(.5), repr(made), made.to_json()


calls = {
    'from_json': lambda x: Schedule.from_json(x),
    'library': lambda x: cosine().to(x, 10),
    'steps to translate': lambda x: cosine().to('torch', x),
    'steps to lint': lambda x: lint_schedule(cosine(), x),
    'stepped': lambda x: lint_schedule(cosine(), 10, stepped=x),
    'steps_per_epoch': lambda x: lint_schedule(cosine(), 10, stepped='epoch', steps_per_epoch=x),
    'num_processes': lambda x: lint_schedule(cosine(), 10, num_processes=x),
    'end': lambda x: lint_schedule(cosine(), 10, end=x),
    'jump': lambda x: lint_schedule(cosine(), 10, jump=x),
    'position': lambda x: cosine()(x),
    'divisor': lambda x: cosine()/x,
}


@pytest.mark.parametrize('call', calls)
@given(nonsense | st.text())
def test_nonsense_elsewhere_is_refused_with_a_value_error(call, x):
    try: calls[call](x)
    except ValueError: pass
    except TypeError as e: assert call == 'divisor' and 'unsupported operand' in str(e)


@functools.cache
def digits(): return digits_dls(bs=600)


@given(st.dictionaries(st.sampled_from(['lr', 'momentum', 'mom']), nonsense, max_size=2), nonsense)
def test_nonsense_in_a_binder(scheds, end):
    learn = Learner(torch.nn.Linear(64, 10), digits(), torch.nn.functional.cross_entropy)
    try: learn.fit(1, cbs=[ScheduleCB(end=end, **scheds)])
    except ValueError: pass


nested = join([linear(0, 1), join([cosine(), one_minus_sqrt()], at=[.5])], at=[.2])


@pytest.mark.parametrize('sched', [0.1*warmup_cosine(), one_cycle(), wsd(), restarts(3, growth=2), noam(),
                                   1 - 0.5*rex(), tanh()*k_decay(), multistep(at=[.1 + .2]), nested])
def test_the_torch_translation_is_the_same_function(sched):
    opt, steps = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=.1), 70
    scope = dict(optimizer=opt)
    exec(sched.to('torch', steps), scope)
    for step in range(steps + 20):
        assert math.isclose(opt.param_groups[0]['lr'], sched(step/steps), rel_tol=1e-12, abs_tol=1e-15)
        opt.step()
        scope['scheduler'].step()


# --- sums and products ---

def copies(sched):
    "The schedule by every way out and back"
    return [eval(repr(sched)), Schedule.from_json(sched.to_json()), pickle.loads(pickle.dumps(sched)),
            copy.deepcopy(sched)]


GROWERS = {'sum': lambda x: x + linear(), 'product': lambda x: x * linear(), 'number': lambda x: x + 1,
           'difference': lambda x: x - linear()}


@pytest.mark.parametrize('way', GROWERS)
def test_nine_hundred_operations_are_one_level(way):
    sched = cosine()
    for _ in range(900): sched = GROWERS[way](sched)
    for again in copies(sched):
        assert again == sched and hash(again) == hash(sched) and again(.5) == sched(.5)
    assert np.allclose(sched(GRID), [sched(p) for p in GRID.tolist()])
    assert len(sched.operands) == 901 and sched.lint(10) == lint_schedule(sched, 10)


def test_the_torch_translation_of_a_long_sum():
    opt, sched = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=.1), sum([linear()]*900)
    exec(sched.to('torch', 10), dict(optimizer=opt))
    assert math.isclose(opt.param_groups[0]['lr'], sched(0))


NESTERS = {'sum': lambda x: 1 + x, 'product': lambda x: 2*x, 'join': lambda x: join([x, linear()], at=[.5])}


@pytest.mark.parametrize('way', NESTERS)
def test_what_is_nested_deeply_works_or_is_refused(way):
    sched = cosine()
    with pytest.raises(ValueError, match='nested at most 80 deep'):
        for _ in range(200): sched = NESTERS[way](sched)
    for again in copies(sched):
        assert again == sched and hash(again) == hash(sched) and again(.3) == sched(.3)


@given(schedules, schedules, value, st.floats(0, 1))
def test_operations_are_those_of_the_values(a, b, x, t):
    assert (a + b)(t) == a(t) + b(t) and (a * b)(t) == a(t) * b(t)
    assert (x + a)(t) == x + a(t) and (a + x)(t) == a(t) + x and (x * a)(t) == x * a(t)
    assert (a - b)(t) == a(t) + -1*b(t) and (-a)(t) == -a(t)


def test_numbers_of_numpy_are_numbers():
    assert np.float32(.5)*cosine() == .5*cosine() and cosine()*np.int64(2) == cosine()*2
    assert cosine(np.float64(1), np.int8(0)) == cosine() and repr(linear(np.int64(2))) == 'linear(2, 0)'
    assert restarts(np.int64(2)) == restarts(2)


bools = {
    'operand': lambda: True*cosine(),
    'start': lambda: cosine(True),
    'cycles': lambda: restarts(cycles=True),
    'knots': lambda: noisy(cosine(), knots=True),
    'pos': lambda: cosine()(True),
    'at': lambda: join([cosine(), linear()], at=[True]),
    'warm': lambda: one_cycle(warm=True),
    'jump': lambda: cosine().lint(10, jump=True),
    'total_steps': lambda: cosine().lint(True),
}


@pytest.mark.parametrize('name', bools)
def test_a_bool_is_no_number(name):
    with pytest.raises(ValueError, match=f'{name} must be .* got {name}=.*True'): bools[name]()


@pytest.mark.parametrize('divisor', [0, 0., -0., 5e-324, 10**400, math.nan, True, '2', None, np.zeros(2)],
                         ids=['0', '0.', '-0.', 'tiny', 'huge', 'nan', 'True', 'text', 'None', 'array'])
def test_a_divisor_is_a_number_other_than_0(divisor):
    with pytest.raises(ValueError, match='divisor must be|operand must be a finite number'): cosine()/divisor


@pytest.mark.parametrize('shape', [Schedule, Ramp])
def test_what_has_no_formula_cannot_be_made(shape):
    with pytest.raises(TypeError, match='abstract'): shape()
    with pytest.raises(ValueError, match='text must be a schedule'):
        Schedule.from_json(f'{{"{shape.__name__.lower()}": {{}}}}')


ARGUMENTS = dict(join='[cosine(), linear(1, .5)], at=[.3]', warmup='rex(), .1', noisy='cosine(), .2, knots=9',
                 power='.1, 1, 3', triangular='4, low=.2, decay=.5', restarts='3, growth=2, shape=linear()',
                 wsd='.1, cool=.5, decay=one_minus_sqrt()', multistep='at=(.3, .6), factor=.2')


@given(schedules)
def test_code_is_read_as_python_reads_it(s):
    for sched in (s, base*s, -.5*(s + base), join([base*s, s], at=[.4])):
        assert from_code(repr(sched)) == sched


@pytest.mark.parametrize('name', _vocabulary())
def test_every_shape_and_recipe_is_read(name):
    code = 'base' if name == 'base' else f'{name}({ARGUMENTS.get(name, "")})'
    for text in (code, f'0.1*{code}', f'base*{code}', f'1e-05 - {code}/3', f'restarts(shape=base*{code})'):
        assert from_code(text) == eval(text) and from_code(repr(eval(text))) == eval(text)


@pytest.mark.parametrize('text, said', [
    ('sine()', 'known are linear, cosine,'), ('cosine', 'known are'), ('base()', 'known are'),
    ('cosine(begin=1)', 'cosine takes start, end'), ('wsd(1, 2, 3, 4)', 'wsd takes warm, cool, decay'),
    ('wsd(warm=2)', 'warm must be a fraction'), ('[1]*9', 'arithmetic with a list'),
    ('2*3', 'it is no schedule'), ('cosine.__init__()', 'known are'), ('cosine().mean()', 'known are'),
    ('(lambda: cosine())()', 'known are'), ('cosine(*[1])', 'known are'), ('cosine(**base)', 'cosine takes'),
    ('"a"*9', 'known are')])
def test_code_that_is_no_schedule_is_refused(text, said):
    with pytest.raises(ValueError, match='text must be the code of a schedule') as refused: from_code(text)
    assert said in str(refused.value)


def test_text_names_no_class_of_ours():
    text = (2*(cosine() + linear())).to_json()
    assert text == ('{"product": {"operands": [2, {"sum": {"operands": [{"cosine": {"start": 1, "end": 0}}, '
                    '{"linear": {"start": 1, "end": 0}}]}}]}}')


WITHOUT_TORCH = '''
import sys
sys.modules['torch'] = None # importing it fails
import numpy as np
from cosine_lr import Schedule, cosine, join, linear, restarts, wsd
from cosine_lr.shapes import rex
from cosine_lr.view import dial, label_lines, lint_schedule, translate

sched = .1*join([linear(0, 1), rex(), cosine()], at=[.1, .3])
assert sched(.1) == .1 and sched(np.array([.1, 1.])).tolist() == [.1, 0]
assert Schedule.from_json(sched.to_json()) == sched
assert sched.lint(100) and sched.to('torch', 10) and sched._repr_png_() and dial()
assert restarts(3, shape=wsd())(0) == 0
assert [name for name in sys.modules if name.split('.')[0] == 'torch'] == ['torch']
'''


def test_a_schedule_needs_numpy_alone():
    subprocess.run([sys.executable, '-c', WITHOUT_TORCH], check=True)
    code = WITHOUT_TORCH.replace("sys.modules['torch'] = None", '').replace("== ['torch']", '== []')
    subprocess.run([sys.executable, '-c', code], check=True)


class OtherArray:
    "An array of a library that follows the array API standard"
    def __init__(self, x): self.x, self.dtype = np.asarray(x), np.asarray(x).dtype
    def __array_namespace__(self): return Other
    def _with(self, other, f): return OtherArray(f(self.x, getattr(other, 'x', other)))
    def __add__(self, other): return self._with(other, np.add)
    def __sub__(self, other): return self._with(other, np.subtract)
    def __mul__(self, other): return self._with(other, np.multiply)
    def __truediv__(self, other): return self._with(other, np.divide)
    def __pow__(self, other): return self._with(other, np.power)
    def __rsub__(self, other): return OtherArray(other - self.x)
    def __le__(self, other): return self._with(other, np.less_equal)
    def __ge__(self, other): return self._with(other, np.greater_equal)
    def __lt__(self, other): return self._with(other, np.less)
    def __and__(self, other): return self._with(other, np.logical_and)
    __radd__, __rmul__ = __add__, __mul__


class Other:
    finfo = staticmethod(np.finfo)
    @staticmethod
    def cos(t): return OtherArray(np.cos(t.x))
    @staticmethod
    def clip(t, low, high): return OtherArray(np.clip(t.x, low, high))
    @staticmethod
    def full_like(t, x): return OtherArray(np.full_like(t.x, x))
    @staticmethod
    def where(here, a, b): return OtherArray(np.where(here.x, a.x, b.x))


def test_arrays_of_another_library():
    sched = .1*join([linear(0, 1), 1 - .5*cosine(), cosine()], at=[.1, .3])
    theirs = sched(OtherArray(GRID))
    assert isinstance(theirs, OtherArray) and np.allclose(theirs.x, sched(GRID), rtol=1e-14, atol=1e-16)


def test_a_boundary_that_rounding_falls_short_of():
    "A restart at step 6 of 10 is just short of a half in the inner join, where a root would be nan"
    inner = join([one_minus_sqrt(), one_minus_sqrt()], at=[.5])
    sched, steps = join([linear(0, 1), inner], at=[2/10]), np.arange(10)/10
    assert (6/10 - 2/10)/(1 - 2/10) < .5 and sched(6/10) == 1
    assert sched(steps)[6] == sched(torch.tensor(steps))[6] == sched(OtherArray(steps)).x[6] == 1
    assert sched(torch.arange(10)/10)[6] > .999 # in float32


# --- recipes ---

REFUSED = {
    'operand': (lambda: cosine() + math.nan, 'a finite number'),
    'start': (lambda: exponential(0), 'above 0'),
    'end': (lambda: exponential(1, 0), 'above 0'),
    'at': (lambda: join([cosine(), linear()], at=[1.2]), 'rise strictly between 0 and 1'),
    'scheds': (lambda: join([.1, cosine()], at=[.5]), 'a list of schedules'),
    'pos': (lambda: cosine()('half'), 'a number, a NumPy array or a tensor'),
    'warm': (lambda: warmup_cosine(0), 'a fraction between 0 and 1'),
    'sched': (lambda: warmup(.1), 'a schedule'),
    'cool': (lambda: flat_cos('late'), 'a fraction between 0 and 1'),
    'cool after warm': (lambda: wsd(.5, .3), 'after warm=0.5'),
    'decay of wsd': (lambda: wsd(decay=cosine), 'a schedule'),
    'cycles': (lambda: restarts(cycles=2.5), 'a whole number'),
    'cycles of triangles': (lambda: triangular(0), 'a whole number'),
    'growth': (lambda: restarts(growth=0), 'from 0.001 to 1,000'),
    'growth of many': (lambda: restarts(cycles=100, growth=2), 'a billionth of training'),
    'decay of many, whole': (lambda: restarts(cycles=1000, decay=10), 'such that its power 999 is finite'),
    'decay': (lambda: restarts(decay=math.nan), 'from 0.001 to 1,000'),
    'decay of many': (lambda: restarts(cycles=200, decay=1e3), 'such that its power 199 is finite'),
    'shape': (lambda: restarts(shape=cosine), 'a schedule'),
    'low': (lambda: triangular(low='a'), 'a finite number'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_the_message_names_the_parameter_and_what_would_be_right(name):
    make, right = REFUSED[name]
    with pytest.raises(ValueError, match=f'^{name.split()[0]} must be .*{right}.*got '): make()


def test_a_word_is_no_operand():
    with pytest.raises(TypeError, match='multiply|unsupported operand'): 'fast' * cosine()


def test_the_dtype_stays():
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        assert (.1*warmup_cosine())(torch.linspace(0, 1, 5, dtype=kind)).dtype == kind


@pytest.mark.parametrize('warm', [1e-7, 1e-4, .001, .01, .05, .3, .9])
@pytest.mark.parametrize('kind', [np.float16, np.float32, torch.float16, torch.bfloat16, torch.float32])
def test_in_low_precision_a_warm_up_begins_at_its_start_and_is_close_to_that_of_floats(kind, warm):
    sched, pos = warmup_cosine(warm), warm*np.arange(32)/32
    make = np.asarray if isinstance(kind, type) else torch.tensor
    low = make(pos.tolist(), dtype=kind)
    exact = [sched(p) for p in low.tolist()]
    assert sched(low)[0] == 0 and sched(low).dtype == kind
    assert np.abs(np.array(sched(low).tolist()) - exact).max() < .02
    for cycles in (2, 5, 64): # a restart, rounded to the nearest number that there is
        starts = restarts(cycles).at
        assert (restarts(cycles)(make(starts, dtype=kind)) > .99).all()


@pytest.mark.parametrize('cycles, growth', [(10_000, 1.001), (10_000, .999), (200, 1.03), (7, 1.7)])
def test_the_boundaries_of_growing_cycles_are_exact(cycles, growth):
    starts, lengths = np.array(restarts(cycles, growth=growth).at), growth**np.arange(cycles, dtype=float)
    assert np.allclose(starts, (np.cumsum(lengths)/lengths.sum())[:-1], rtol=1e-9, atol=0)
    if cycles < 1000:
        *sums, total = itertools.accumulate(Fraction(growth)**i for i in range(cycles))
        assert restarts(cycles, growth=growth).at == tuple(float(each/total) for each in sums)


@pytest.mark.parametrize('cycles, growth', [(10_000, 1.1), (10_000, .001), (4, 1000)])
def test_cycles_that_grow_too_much_are_refused_at_once(cycles, growth):
    with pytest.raises(ValueError, match='growth must be such that each of'): restarts(cycles, growth=growth)


def test_the_power_closest_to_a_cosine_is_a_straight_line():
    powers = np.arange(.5, 3, .01)
    gaps = np.array([np.abs(polynomial(power=p)(GRID) - cosine()(GRID)).max() for p in powers])
    assert abs(powers[gaps.argmin()] - 1) < .05 and .10 < gaps.min() < .11


def test_values_of_recipes():
    assert warmup_cosine(start=.1, end=.01)(0) == .1 and warmup_cosine(start=.1, end=.01)(1) == .01
    assert join([cosine(.95, .85), cosine(.85, .95)], at=[.3])(.3) == .85 # momentum, against the rate
    assert restarts(1) == join([cosine()], at=[])
    assert abs(warmup_cosine().mean() - .5) < 1e-9
    assert abs(wsd().mean() - .875) < 1e-9 and abs(flat_cos().mean() - .875) < 1e-9


def whole_cycles():
    "Six cycles that grow by whole numbers and by a half, the first of 1 to 96 steps, if all have whole steps"
    for growth in (1, 2, 3, 5, 10, 1.5):
        for first in (1, 2, 3, 4, 32, 64, 96):
            lengths = [first*growth**i for i in range(6)]
            if all(n % 1 == 0 for n in lengths): yield growth, [int(n) for n in lengths]


def test_each_of_six_restarts_is_at_the_peak():
    tried = list(whole_cycles())
    for growth, lengths in tried:
        begins, total = np.cumsum([0, *lengths[:-1]]), sum(lengths)
        assert (restarts(6, growth=growth)(position(np.arange(total), total))[begins] == 1).all(), growth
    assert len(tried) == 38


def torch_rates(make, steps):
    opt = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.)
    sched, rates = make(opt), []
    for step in range(steps):
        rates.append(opt.param_groups[0]['lr'])
        opt.step()
        if step < steps-1: sched.step()
    return np.array(rates)


def again(opt, first, growth):
    return torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(opt, T_0=first, T_mult=growth)


def halved(opt):
    return torch.optim.lr_scheduler.CyclicLR(opt, .1, 1., 10, mode='triangular2', cycle_momentum=False)


def climb_and_cosine(opt):
    parts = [torch.optim.lr_scheduler.LinearLR(opt, .1, 1., 16),
             torch.optim.lr_scheduler.CosineAnnealingLR(opt, 64)]
    return torch.optim.lr_scheduler.SequentialLR(opt, parts, [16])


HILL = join([linear(0, 1), linear(1, 0)], at=[.5])
IN_TORCH = { # of 80 steps
    'restarts x3': (restarts(4, growth=3), lambda opt: again(opt, 2, 3)),
    'triangular2': (.1 + .9*restarts(4, decay=.5, shape=HILL), halved),
    'step': (multistep([.25, .5, .75], .5), lambda opt: torch.optim.lr_scheduler.StepLR(opt, 20, gamma=.5)),
    'constant': (join([constant(.5), constant()], at=[.25]),
                 lambda opt: torch.optim.lr_scheduler.ConstantLR(opt, .5, 20)),
    'linear': (linear(1, .2), lambda opt: torch.optim.lr_scheduler.LinearLR(opt, 1., .2, 80)),
    'exponential': (exponential(1, .95**80), lambda opt: torch.optim.lr_scheduler.ExponentialLR(opt, .95)),
    'polynomial': (polynomial(power=3), lambda opt: torch.optim.lr_scheduler.PolynomialLR(opt, 80, 3)),
    'warm-up': (warmup_cosine(.2, start=.1), climb_and_cosine),
    'restarts': (restarts(4), lambda opt: again(opt, 20, 1)),
}


@pytest.mark.parametrize('name', IN_TORCH)
def test_torch_has_the_same_values(name):
    ours, theirs = IN_TORCH[name]
    assert np.abs(ours(position(np.arange(80), 80)) - torch_rates(theirs, 80)).max() < 1e-12


def test_one_cycle_counts_the_last_step_as_the_end():
    once = torch.optim.lr_scheduler.OneCycleLR
    theirs = torch_rates(lambda opt: once(opt, 1., 80, cycle_momentum=False), 80)
    ours = one_cycle((.3*80 - 1)/79) # torch's peak is a step early
    assert np.abs(ours(position(np.arange(80), 80, end='closed')) - theirs).max() < 1e-12


@pytest.mark.parametrize('growth', [1, 2, 3])
def test_torch_restarts_where_ours_do(growth): # five cycles, the first of four steps
    steps = 4 * sum(growth**i for i in range(5))
    theirs = torch_rates(lambda opt: again(opt, 4, growth), steps)
    assert np.abs(restarts(5, growth=growth)(position(np.arange(steps), steps)) - theirs).max() < 1e-12


# --- refusals of the other rooms ---

WARM = '0.1*warmup_cosine(.1, start=.1)'
JUMP, UP_DOWN = 'join([linear(0, .5), cosine()], at=[.3])', 'join([cosine(0, 1), cosine()], at=[.3])'
REFUSED_ELSEWHERE = {
    'k': (lambda: k_decay(k=0), 'k must be .* above 0'),
    'scale': (lambda: inverse_sqrt(-1), 'scale must be .* above 0'),
    'low': (lambda: tanh(low=math.inf), 'low must be a finite number'),
    'start': (lambda: rex('high'), 'start must be a finite number'),
    'warm': (lambda: noam(0), 'warm must be a fraction between 0 and 1'),
    'warm of three': (lambda: three_phase(.6), 'warm must be .* above 0 and below 0.5'),
    'at': (lambda: multistep(at=[.7, .5]), 'at must be fractions that rise'),
    'factor': (lambda: multistep(factor=math.nan), 'factor must be a finite number'),
    'power of a factor': (lambda: multistep([k/200 for k in range(1, 200)], 1e3), 'power 199 is finite'),
    'base': (lambda: (base*cosine())(.5), 'give the schedule to ScheduleCB or ScheduleLR'),
    'knots': (lambda: noisy(cosine(), knots=1), 'knots must be a whole number'),
    'sd': (lambda: noisy(cosine(), sd=-1), 'sd must be a finite number'),
    'sched': (lambda: noisy(.1), 'sched must be a schedule'),
    'no steps': (lambda: lint_schedule(cosine(), 0), 'total_steps must be a whole number'),
    'too many steps': (lambda: lint_schedule(cosine(), 10**400), 'total_steps must be a whole number'),
    'a class': (lambda: lint_schedule(float, 10), 'sched must be a schedule or a function'),
    'a number': (lambda: lint_schedule(.1, 10), 'sched must be a schedule or a function'),
    'stepped': (lambda: lint_schedule(cosine(), 10, stepped='step'), "must be 'batch' or 'epoch'"),
    'epochs': (lambda: lint_schedule(cosine(), 10, stepped='epoch'), 'steps_per_epoch must be given'),
    'steps_per_epoch': (lambda: lint_schedule(cosine(), 10, stepped='epoch', steps_per_epoch=0),
                        'steps_per_epoch must be a whole number'),
    'num_processes': (lambda: lint_schedule(cosine(), 10, num_processes=0), 'num_processes must be a whole'),
    'jump': (lambda: lint_schedule(cosine(), 10, jump='big'), 'jump must be a finite number'),
    'end': (lambda: lint_schedule(cosine(), 10, end=np.zeros(2)), "end must be 'open' or 'closed'"),
    'per_step': (lambda: per_step(cosine(), 0), 'total_steps must be a whole number'),
    'per_step of base': (lambda: per_step(base*cosine(), 100), r'sched\.bound\(0\.1\)'),
    'a sum in optax': (lambda: (.1 + cosine()).to('optax', 100), 'optax has no words for a sum'),
    'a product in optax': (lambda: (cosine()*cosine()).to('optax', 100), 'a product of two schedules'),
    'a shape in timm': (lambda: rex().to('timm', 1000), "timm has no words for the shape 'rex'"),
    'a piece in optax': (lambda: from_code(WARM).to('optax', 1234), 'a piece of 123.4 steps, not a whole'),
    'a start in transformers': (lambda: from_code(WARM).to('transformers', 1000), 'starts above 0'),
    'up in optax': (lambda: from_code(UP_DOWN).to('optax', 1000), 'a curve, cosine, that starts at 0'),
    'up in keras': (lambda: from_code(UP_DOWN).to('keras', 1000), 'a curve, cosine, that starts at 0'),
    'a start at 0': (lambda: cosine(0, 1).to('keras', 1000), 'a curve, cosine, that starts at 0'),
    'jump in transformers': (lambda: from_code(JUMP).to('transformers', 1000), 'a jump, from 0.5 to 1'),
    'jump in keras': (lambda: from_code(JUMP).to('keras', 1000), 'a jump, from 0.5 to 1'),
    'jump in timm': (lambda: from_code(JUMP).to('timm', 1000), 'a jump, from 0.5 to 1'),
    'a library': (lambda: cosine().to('paddle', 1000),
                  "library must be 'torch', 'optax', 'transformers', 'keras' or 'timm', got"),
    'base in a sum': (lambda: (base + .01*cosine()).to('torch', 100), '`base` in any place but'),
    'base twice': (lambda: (base*base).to('transformers', 100), '`base` in any place but as one factor'),
    'base to an end': (lambda: (base*cosine(1, .1)).to('timm', 100), "share of the optimizer's own rate"),
    'no tree': (lambda: translate(.1, 'torch', 1000), 'tree must be a schedule as plain data'),
    'a peak in transformers': (lambda: (2*base*cosine()).to('transformers', 100),
                               "a peak of 2 times the optimizer's own rate: multiply the optimizer's lr"),
    'no overlay': (lambda: overlay(cosine(), cosine(), 0), 'total_steps must be a whole number'),
    'overlay of a number': (lambda: overlay(.1, cosine(), 10), 'sched must be'),
    'overlay over a number': (lambda: overlay(cosine(), .1, 10),
                              'other must be a torch-style scheduler or a function of the step, got'),
    'overlay of a class': (lambda: overlay(float, cosine(), 10), 'sched must be'),
}


@pytest.mark.parametrize('name', REFUSED_ELSEWHERE)
def test_what_is_refused_elsewhere(name):
    call, said = REFUSED_ELSEWHERE[name]
    with pytest.raises(ValueError, match=said): call()


@pytest.mark.parametrize('text', [
    '{"os.system": {"command": "ls"}}', '{"ramp": {}}', '{"cosine": {"start": NaN}}',
    '{"cosine": {"begin": 1}}', '{"sum": {"operands": [1, 2]}}', '[1, 2]', 'cosine()', '['*100_000])
def test_text_that_is_no_schedule_is_refused(text):
    with pytest.raises(ValueError, match='text must be a schedule as to_json writes it'):
        Schedule.from_json(text)


@pytest.mark.parametrize('text', ['__import__("os").getcwd()', '0.1*', 'cosine()/0', '[1, 2]',
                                  '[cosine()]*10**9', '-'*5000 + '1'])
def test_other_code_is_refused(text):
    with pytest.raises(ValueError, match='text must be the code of a schedule'): from_code(text)


def test_the_wing_shows_its_functions():
    from cosine_lr.view import as_code, as_tree
    assert as_code(as_tree(cosine()), 'torch', 10) == cosine().to('torch', 10)
