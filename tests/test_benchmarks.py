"""The benchmarks measure what they say: a planted slow-down shows, and unequal work is refused."""
import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from cosine_lr import Callback

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import footprint, growth, loops, measure, report, task


def rows(base=None, beside=1., **times):
    "What `measure` gives for contestants with these times."
    def row(times):
        return dict(base=base, times=times, beside=np.broadcast_to(beside, len(times)).tolist(), facts={})
    return {name: row(its_times) for name, its_times in times.items()}


# --- measuring ---

def test_each_contestant_has_a_turn_in_each_round():
    seen = []
    def turn(name, k):
        seen.append((name, k))
        return 2.**k, dict(k=k)
    got = measure.measure({name: partial(turn, name) for name in 'abc'}, rounds=4)
    turns = [(name, k) for name in 'abc' for k in (0, 0, 1, 2, 3)]  # the first turn does not count
    assert sorted(seen) == sorted(turns)
    assert got['a'] == dict(base=None, times=[1., 2., 4., 8.], beside=[1.]*4, facts=dict(k=1.5))
    order = [name for name, _ in seen]
    assert len({tuple(order[i:i+3]) for i in range(0, 15, 3)}) > 1  # nobody always follows the same neighbour


def test_a_ratio_is_that_of_neighbours():
    slow = np.array([1., 9., 1., 7., 1.])
    got = rows(base='b', beside=2*slow, a=2.6*slow, b=2*slow, c=5.2*slow)
    assert measure.ratio(got, 'a') == measure.ratio(got, 'a', 'b') == pytest.approx([1.3]*3)
    assert measure.ratio(got, 'c', 'a') == pytest.approx([2.]*3)


def test_the_base_has_a_turn_after_each():
    seen = []
    def turn(name, k):
        seen.append(name)
        return float(len(seen)), {}
    got = measure.measure({name: partial(turn, name) for name in ('base', 'other')}, rounds=3, base='base')
    assert seen[1::2] == ['base']*8
    for row in got.values(): assert row['beside'] == [time + 1 for time in row['times']]


def test_an_exponent_is_recovered():
    x = np.array([1., 10., 100., 1000.])
    assert measure.exponent(x, 3*x**.7) == pytest.approx((.7, 0.), abs=1e-6)


class Clock:
    "A clock that stands still, but for what its callbacks take."
    def __init__(self): self.now = 0.
    def __call__(self): return self.now
    def taking(self, seconds):
        "A callback that takes so long in each batch."
        clock = self
        class Taking(Callback):
            def before_batch(self, learn): clock.now += seconds*learn.training
        return Taking()


@pytest.mark.slow
def test_a_planted_slow_down_shows():
    clock = Clock()
    timed = partial(task.Task, task.mlp, clock=clock)
    seconds = dict(plain=1., again=1., slow=1.25)
    def way(name): return lambda t: loops.ours(t, clock.taking(seconds[name]))
    contestants = {name: loops.contestant(way(name), False, timed) for name in seconds}
    got = measure.measure(contestants, rounds=2, base='plain')
    assert measure.ratio(got, 'slow') == [1.25]*3 and measure.ratio(got, 'again') == [1.]*3


def test_a_planted_slow_down_shows_in_what_the_loop_itself_costs(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(growth, 'WALL', clock)
    batch, model = [torch.rand(4, 8), torch.rand(4, 8)], torch.nn.Linear(8, 8)
    def cost(*cbs): return growth.own_cost(growth.Heavy(), batch, 20, model, cbs)
    assert cost() == 0 and cost(clock.taking(1.)) == 1.


# --- the same work ---

@pytest.mark.parametrize('planted', [dict(accuracy=.93, steps=119), dict(accuracy=.95, steps=118)])
def test_unequal_work_is_refused(planted):
    same = {name: dict(times=[1.], facts=dict(accuracy=.949, steps=119)) for name in 'ab'}
    assert measure.check_equal_work(same) is same
    other = same | {'c': dict(times=[1.], facts=planted)}
    with pytest.raises(ValueError, match='same work'): measure.check_equal_work(other)


@pytest.mark.slow
def test_the_loops_see_the_same_batches():
    accuracies = []
    for name in (loops.HAND, 'by hand, DataLoader', 'Learner'):
        _, facts = loops.contestant(*loops.CONTESTANTS[name], partial(task.Task, task.cnn))(3)
        assert facts['steps'] == 17*task.EPOCHS
        accuracies.append(facts['accuracy'])
    assert accuracies == pytest.approx([accuracies[0]]*3, abs=1e-6) and accuracies[0] > .9


# --- the report ---

def test_a_claim_that_does_not_hold_is_marked():
    names = [*loops.CONTESTANTS]
    def kept(ours): # {claim: is it kept?} where `Learner` takes so long, the loop by hand 1, and all others 2
        times = dict.fromkeys(names, 2.) | {loops.HAND: 1., 'Learner, compiled': .3, 'Learner': ours}
        measured = rows(loops.HAND, **{name: [seconds]*5 for name, seconds in times.items()})
        return {what: kept for _, what, _, _, _, kept, _ in report.claims({'loops': {'mlp': measured}})}
    assert len(kept(1.05)) == len(names) - 1 and all(kept(1.05).values())
    assert [what for what, fine in kept(1.2).items() if not fine] == [f'Learner / {loops.HAND}']


def test_a_claim_names_what_is_not_ours():
    names = ('by hand', 'lr_find, one sweep', *report.FINDERS)
    measured = rows('by hand', **{name: [1. + i]*5 for i, name in enumerate(names)})
    claims = report.claims({'finders': {'mlp': measured}})
    found = [(what.split(' / ')[1], rest) for _, what, *_, rest in claims]
    assert found == [(name, (1/(1 + i), 'by hand')) for i, name in enumerate(names) if i > 1]


def test_report_and_readme_say_what_was_measured():
    data = report.read()
    assert (report.HERE/'report.md').read_text(encoding='utf-8') == report.text(data)
    cells = json.loads(report.INDEX.read_text(encoding='utf-8'))['cells']
    cell = next(cell for cell in cells if cell['id'] == report.CELL)
    assert ''.join(cell['source']) == report.readme_table(data)
    assert {path.stem for path in report.HERE.glob('*.png')} == set(data.get('growth', ()))


def test_the_notebook_of_language_quotes_what_fleets_cost():
    widths, path = report.read()['gpt']['widths'], report.INDEX.with_name('13_language.ipynb')
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    text = next(''.join(cell['source']) for cell in cells if cell['id'] == 'fleet-why')
    alone, some, most = (f"{measure.ratio(widths[width], 'fleet')[1]:.2f}" for width in ('8', '32', '128'))
    assert f'takes {alone} of its time alone at width 8, {some} at width 32 and {most} at width 128' in text


def test_packages_are_counted():
    assert {'torch', 'numpy', 'tqdm', 'scipy'} <= footprint.closure('cosine_lr')
    assert footprint.closure('numpy') == {'numpy'}
    weight = footprint.weight('cosine_lr')
    assert .05 < weight['wheel_mb'] < .5 and 2000 < weight['lines'] < 20000
