"Wrong calls of the annealing engine and the search for a schedule, and chains that have nowhere good to be."
import math
import random
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest

from cosine_lr.lab import (Annealer, KnotSpace, LineSpace, ScheduleSearch, nearby, point_of, random_point,
                           searcher, temperature_for)
from cosine_lr import anneal, constant, cosine, join, linear, search_schedule, wsd
from cosine_lr.data import DataLoaders, digits_dls
from cosine_lr.lab.search import _judge


def step(x, rng): return x + rng.gauss(0, 1)


def told(search, *energies):
    for e in energies: search.tell(e)
    return search


def test_a_chain_that_starts_lost_takes_the_first_way_out():
    search = Annealer([0., 0.], step, steps=3, accept=None)
    for energies in ([math.nan, 1.], [math.inf, math.nan], [5., math.inf]): told(search, energies).ask()
    assert np.array_equal(search.result().history['energy'], [[math.inf, 1], [math.inf, 1], [5, 1]])


def test_a_refused_answer_can_be_given_again():
    search, same = Annealer([5.], step, steps=40), Annealer([5.], step, steps=40)
    asked = search.ask()
    with pytest.raises(ValueError, match='1 numbers'): search.tell(['low'])
    assert search.ask() == asked
    for s in (search, same):
        while not s.done: s.tell([x**2 for x in s.ask()])
    assert search.result().history['state'] == same.result().history['state']


@pytest.mark.parametrize('wrong, name', [
    (lambda: Annealer(5., step), 'starts'), (lambda: Annealer([], step), 'starts'),
    (lambda: Annealer([5.], 7), 'neighbour'),
    (lambda: Annealer([5.], step, temperature=1), 'temperature'),
    (lambda: Annealer([5.], step, temperature=cosine), 'gives|temperature'),
    (lambda: Annealer([5.], step, temperature=cosine(1, -1)),
     r'temperature must be finite and at least 0 all the way; cosine\(1, -1\) gives -0.0314'),
    (lambda: Annealer([5.], step, temperature=lambda pos: math.nan), 'temperature'),
    (lambda: Annealer([5.], step, steps=20), 'steps'), (lambda: Annealer([5.], step, steps=40.), 'steps'),
    (lambda: Annealer([5.], step, accept=50), 'accept'),
    (lambda: Annealer([5.], step, ladder=.5), 'ladder'),
    (lambda: Annealer([5.], step).result(), 'nothing has been told'),
    (lambda: told(Annealer([5.], step), [1., 2.]), '1 numbers'),
    (lambda: told(Annealer([5.], step), 3.), '1 numbers'),
    (lambda: told(Annealer([5.], step), [-math.inf]), 'minus infinity'),
    (lambda: told(Annealer([5.], step), [1.], [2.]), 'follow an ask'),
    (lambda: anneal(3, 5., step), 'energy'), (lambda: anneal(abs, 5., step, patience=0), 'patience'),
    (lambda: anneal(lambda x: 1., 5., step, quiet=True), 'changes the energy'),
    (lambda: anneal(len, [1], lambda state, rng: state.append(1), quiet=True), 'neighbour must return'),
    (lambda: nearby(.5, None, finest=0), 'finest'), (lambda: temperature_for(-5, .5), 'rises'),
    (lambda: temperature_for([1.], None), 'accept'), (lambda: Annealer([5.], step, ladder='2'), 'ladder'),
    (lambda: anneal(abs, 5., step, patience='long'), 'patience'),
    (lambda: anneal(abs, 5., lambda x: x), 'neighbour'), (lambda: anneal(abs, 5., lambda: 0), 'neighbour'),
    (lambda: anneal(abs, 5., lambda x, rng, temperature, more: x), 'neighbour'),
])
def test_wrong_calls_of_the_engine(wrong, name):
    with pytest.raises(ValueError, match=name): wrong()


def test_an_error_of_the_energy_comes_through():
    def energy(x): raise ValueError('mine')
    with pytest.raises(ValueError, match='^mine$'): anneal(energy, 5., step, quiet=True)
    with pytest.raises(ValueError, match=r'1 numbers, got \[None\]'):
        anneal(lambda x: None, 5., step, quiet=True)


@pytest.mark.parametrize('energy', [1., math.inf])
def test_a_flat_energy_can_be_searched_with_a_temperature_in_its_units(energy):
    steps = np.int64(40)                                            # a whole number of NumPy's is one
    found = anneal(lambda x: energy, 5., step, constant(1), steps, accept=None, quiet=True)
    assert found.energy == energy and (found.state == 5. if energy == 1 else found.state is None)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        plt.close(found.plot().figure)


def test_results_are_read_at_a_glance():
    found = anneal(abs, 5., step, steps=200, quiet=True)
    assert repr(found) == f'Annealed(state={found.state!r}, energy={found.energy!r}, evaluations=201)'
    scheds, trained = dict(cosine=cosine(), annealing=cosine()), dict(cosine=33, annealing=160)
    seen, losses = dict(cosine=.5, annealing=.4), dict(cosine=np.full(64, .5), annealing=np.full(64, .4))
    search = ScheduleSearch(scheds, trained, seen, losses, losses)
    assert repr(search) == search._repr_markdown_() and len(repr(search).splitlines()) == 4
    assert repr(search).startswith('| method | trained | loss in the search |')


@pytest.mark.parametrize('wrong, name', [
    (lambda: KnotSpace(knots=1), 'knots'), (lambda: KnotSpace(knots=True), 'knots'),
    (lambda: KnotSpace(peak=(1, .1)), 'peak'), (lambda: KnotSpace(peak=1.), 'peak'),
    (lambda: KnotSpace(floor=0), 'floor'), (lambda: KnotSpace(shortest=1), 'shortest'),
    (lambda: LineSpace(knots=202), 'knots must be .* from 2 to 201'), (lambda: LineSpace(knots=1), 'knots'),
    (lambda: LineSpace(floor=.5), 'floor must be .* below 0.5'), (lambda: LineSpace(floor=.6), 'floor'),
    (lambda: LineSpace(peak=1.), 'peak'),
    (lambda: point_of(KnotSpace(), 100*cosine()), 'sched'),
    (lambda: KnotSpace().schedule((.1, 1, 1)), 'point must hold 8'),
    (lambda: searcher('random', KnotSpace(), point_of(KnotSpace(), cosine()), 50, chains=0), 'chains'),
])
def test_wrong_spaces(wrong, name):
    with pytest.raises(ValueError, match=name): wrong()


@pytest.mark.parametrize('wrong, name', [
    (dict(budget=20), 'budget'), (dict(budget=161), 'budget'), (dict(budget=160.), 'budget'),
    (dict(chains=0), 'chains'), (dict(seeds=0), 'seeds'), (dict(fresh=1), 'fresh'),
    (dict(finalists=0), 'finalists'), (dict(seed=-1), '^seed must'), (dict(rivals=['grid']), 'rivals'),
    (dict(rivals='tpe'), 'rivals'), (dict(space={}), 'space'),
    (dict(dls=DataLoaders(digits_dls().train, digits_dls().valid)), 'test split'),
])
def test_wrong_searches_train_nothing(wrong, name):
    def make_model(): raise AssertionError('trained')
    with pytest.raises((ValueError, TypeError), match=name):
        search_schedule(**dict(make_model=make_model, dls=digits_dls(), quiet=True) | wrong)


class Fixed:
    "A task whose losses are known: {schedule: (valid, test)}."
    how = 'looked up'
    def __init__(self, losses): self.known = losses
    def losses(self, scheds, seeds, split='valid'): # a thousandth more with each seed
        known = [self.known[sched][split == 'test'] for sched in scheds]
        return np.array(known)[:, None] + np.array(seeds)/1000


def test_a_verdict_by_hand():
    tuned, lucky, good, late = (peak*cosine() for peak in (1., 2., 3., 4.))
    task = Fixed({tuned: (.5, .45), lucky: (.6, .7), good: (.4, .35), late: (.1, .1)})
    tried = dict(cosine=[(.5, tuned)], annealing=[(.3, late), (.1, lucky), (.2, good)])
    found = _judge(task, tried, range(10), range(20, 30), finalists=2)
    assert found.schedule == good                                # of two finalists, the better on fresh seeds
    assert found.seen == dict(cosine=.5, annealing=.2)
    assert np.allclose(found.gains('annealing'), (.3, .1))
    assert np.allclose(found.fresh['annealing'], .4 + np.arange(10)/1000)
    gain, (low, high) = found.gain('annealing')
    assert np.allclose([gain, low, high], .1) and np.allclose(found.gain('cosine', 'annealing')[0], -.1)
    row = '| annealing | 3 | 0.2000 | 0.4045 | +0.3000 / +0.1000 | 0.3745 ± 0.0030 | +0.1000 ('
    assert str(found).splitlines()[-1].startswith(row)


def test_a_run_that_diverged_makes_a_gain_unsure():
    losses = dict(cosine=np.full(8, .5), annealing=np.array([.1]*7 + [np.inf]))
    once, seen = dict(cosine=1, annealing=1), dict(cosine=.5, annealing=math.inf)
    search = ScheduleSearch({}, once, seen, losses, losses)
    assert search.gain('annealing') == (-math.inf, (-math.inf, math.inf))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert '| -inf / -inf | inf ± nan | -inf (-inf to +inf) |' in repr(search)


def test_a_point_of_a_schedule_is_within_the_space():
    space = KnotSpace(floor=.01)
    assert all(low <= x <= high for x, (low, high) in zip(point_of(space, cosine()), space.bounds.values()))


@pytest.mark.parametrize('recipe', [linear(), wsd(), join([constant(), linear()], at=[.75]), linear(1, .5)])
def test_lines_say_the_recipes_of_straight_lines_exactly_and_their_zero_is_one(recipe):
    space, pos = LineSpace(), np.linspace(0, 1, 501)
    sched = space.schedule(point_of(space, .5*recipe))
    assert np.allclose(sched(pos), .5*recipe(pos), atol=1e-4) and sched(1.) == .5*recipe(1.)


def test_the_most_knots_and_the_highest_floor_of_the_lines_make_schedules():
    space, pos = LineSpace(knots=201), np.linspace(0, 1, 501)
    point = point_of(space, cosine())
    assert np.allclose(space.schedule(point)(pos), cosine()(pos), atol=2*space.floor) # less than that is 0
    steep = LineSpace(floor=.49)
    assert max(steep.schedule(point_of(steep, cosine()))(pos)) == 1


def test_every_point_of_the_lines_is_a_schedule_that_can_end_at_zero():
    space, rng = LineSpace(knots=3), random.Random(0)
    points = [random_point(space, rng) for _ in range(300)]
    ends = np.array([space.schedule(point)(1.) for point in points])
    assert (ends >= 0).all() and .01 < (ends == 0).mean() < .5
    for point in points:
        assert all(low <= x <= high for x, (low, high) in zip(point, space.bounds.values()))


def test_the_best_recipe_is_named_and_its_comparison_is_that_of_paired():
    names = ('cosine', 'linear', 'wsd', 'hold', 'annealing')
    fresh = {name: np.arange(8)/100 + k for name, k in zip(names, (3, 1, 2, 4, 0))}
    search = ScheduleSearch({}, dict.fromkeys(names, 9), dict.fromkeys(names, 1.), fresh, fresh)
    assert search.best_recipe == 'linear' and 'over linear, the best recipe' in repr(search)
    found = search.compared('annealing', 'linear')
    assert found.difference == -1 and found.n == 8 and search.gain('annealing', 'linear')[0] == 1
