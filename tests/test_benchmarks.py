"""The benchmarks measure what they say: a planted slow-down shows, unequal work is refused, and the report says what its data say."""
import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from cosine_lr import Callback

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import footprint, growth, loops, measure, report, task


def rows(base=None, beside=1., **times): return {name: dict(base=base, times=t, beside=np.broadcast_to(beside, len(t)).tolist(), facts={}) for name, t in times.items()}


# --- measuring ---

def test_each_contestant_has_a_turn_in_each_round():
    seen = []
    def turn(name): return lambda k: (seen.append((name, k)), (2.**k, dict(k=k)))[1]
    got = measure.measure({name: turn(name) for name in 'abc'}, rounds=4)
    assert sorted(seen) == sorted((name, k) for name in 'abc' for k in (0, 0, 1, 2, 3))  # the first turn does not count
    assert got['a'] == dict(base=None, times=[1., 2., 4., 8.], beside=[1.]*4, facts=dict(k=1.5))
    order = [name for name, _ in seen]
    assert len({tuple(order[i:i+3]) for i in range(0, 15, 3)}) > 1  # nobody always runs after the same neighbour


def test_a_ratio_is_that_of_neighbours():
    slow = np.array([1., 9., 1., 7., 1.])
    got = rows(base='b', beside=2*slow, a=2.6*slow, b=2*slow, c=5.2*slow)
    assert measure.ratio(got, 'a') == measure.ratio(got, 'a', 'b') == pytest.approx([1.3]*3)
    assert measure.ratio(got, 'c', 'a') == pytest.approx([2.]*3)


def test_the_base_has_a_turn_after_each():
    seen = []
    def turn(name): return lambda k: (seen.append(name), (float(len(seen)), {}))[1]
    got = measure.measure({name: turn(name) for name in ('base', 'other')}, rounds=3, base='base')
    assert seen[1::2] == ['base']*8 and all(b == t + 1 for row in got.values() for t, b in zip(row['times'], row['beside']))


def test_an_exponent_is_recovered():
    x = np.array([1., 10., 100., 1000.])
    assert measure.exponent(x, 3*x**.7) == pytest.approx((.7, 0.), abs=1e-6)


@pytest.mark.slow
def test_a_planted_slow_down_shows():
    class Slow(Callback):
        def after_step(self, learn): sum(range(20_000))
    ways = {'plain': loops.ours, 'again': loops.ours, 'slow': lambda t: loops.ours(t, Slow())}
    got = measure.measure({name: loops.contestant(way, False, task.mlp) for name, way in ways.items()}, rounds=5, base='plain')
    slowed = measure.ratio(got, 'slow')[1]
    assert slowed > 1.3 and abs(measure.ratio(got, 'again')[1] - 1) < (slowed - 1)/2


def test_a_planted_slow_down_shows_in_what_the_loop_itself_costs():
    class Sleepy(Callback):
        def before_batch(self, learn): time.sleep(1e-3)
    batch, model = [torch.rand(4, 8), torch.rand(4, 8)], torch.nn.Linear(8, 8)
    own, slowed = (growth.own_cost(growth.Heavy(), batch, 100, model, cbs) for cbs in ([], [Sleepy()]))
    assert slowed > own + .9e-3


# --- the same work ---

@pytest.mark.parametrize('planted', [dict(accuracy=.93, steps=119), dict(accuracy=.95, steps=118)])
def test_unequal_work_is_refused(planted):
    same = {name: dict(times=[1.], facts=dict(accuracy=.949, steps=119)) for name in 'ab'}
    assert measure.check_equal_work(same) is same
    with pytest.raises(ValueError, match='same work'): measure.check_equal_work(same | {'c': dict(times=[1.], facts=planted)})


@pytest.mark.slow
def test_the_loops_see_the_same_batches():
    facts = [loops.contestant(*loops.CONTESTANTS[name], task.cnn)(3)[1] for name in (loops.HAND, 'by hand, DataLoader', 'Learner')]
    assert all(f['steps'] == 17*task.EPOCHS and f['accuracy'] == pytest.approx(facts[0]['accuracy'], abs=1e-6) and f['accuracy'] > .9 for f in facts)


# --- the report ---

def test_a_claim_that_does_not_hold_is_marked():
    names = ['Learner', 'Learner, compiled', 'by hand, DataLoader', loops.HAND, *loops.PEERS, *(f'{name}, loader in memory' for name in loops.PEERS)]
    def kept(**changed): return {what: kept for _, what, _, _, _, kept, _ in report.claims({'loops': {'mlp': rows(loops.HAND, **{**{name: [2.]*5 for name in names}, loops.HAND: [1.]*5, **changed})}})}
    good = kept(**{'Learner': [1.05]*5, 'Learner, compiled': [.3]*5})
    assert len(good) == len(names) - 1 and all(good.values())
    assert [what for what, ok in kept(**{'Learner': [1.2]*5, 'Learner, compiled': [.3]*5}).items() if not ok] == [f'Learner / {loops.HAND}']


def test_a_claim_names_what_is_not_ours():
    names = ('by hand', 'lr_find, one sweep', 'torch-lr-finder', 'torch-lr-finder, loader in memory', 'fastai', 'fastai, loader in memory')
    found = report.claims({'finders': {'mlp': rows('by hand', **{name: [1. + i]*5 for i, name in enumerate(names)})}})
    assert [(what.split(' / ')[1], rest) for _, what, *_, rest in found] == [(name, (1/(1 + i), 'by hand')) for i, name in enumerate(names) if i > 1]


def test_report_and_readme_say_what_was_measured():
    data = report.read()
    assert (report.HERE/'report.md').read_text(encoding='utf-8') == report.text(data)
    cell = next(cell for cell in json.loads(report.INDEX.read_text(encoding='utf-8'))['cells'] if cell['id'] == report.CELL)
    assert ''.join(cell['source']) == report.readme_table(data)
    assert {path.stem for path in report.HERE.glob('*.png')} == set(data.get('growth', ()))


def test_packages_are_counted():
    assert {'torch', 'numpy', 'tqdm', 'scipy'} <= footprint.closure('cosine_lr') and footprint.closure('numpy') == {'numpy'}
    weight = footprint.weight('cosine_lr')
    assert .05 < weight['wheel_mb'] < .5 and 2000 < weight['lines'] < 10000
